//! The Lambda function `nlp`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use nlp::handler;
use tidemill_contract::{logging, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logging::init()?;
    run(service_fn(async |event: LambdaEvent<_>| {
        handler::handle(event.payload).map_err(|error| start::diagnostic("nlp::Error", &error))
    }))
    .await
}
