//! The Lambda function `crawl`.

use crawl::{context::Context, handler};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tidemill_contract::{logging, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logging::init()?;
    let context = &Context::from_env().map_err(|error| start::chain(&error))?;
    run(service_fn(async |event: LambdaEvent<_>| {
        handler::handle(context, event).await.map_err(|error| start::diagnostic("crawl::Error", &error))
    }))
    .await
}
