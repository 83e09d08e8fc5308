//! The Lambda function `notify`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use notify::{context::Context, handler};
use tidemill_contract::{logging, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logging::init()?;
    let context = &Context::from_env().map_err(|error| start::chain(&error))?;
    run(service_fn(async |event: LambdaEvent<_>| {
        handler::handle(context, event.payload).await.map_err(|error| start::diagnostic("notify::Error", &error))
    }))
    .await
}
