//! How a function runs: its handler's errors are reported to the runtime with their whole
//! chain of causes, because the report is all that retries and dead letters can show.

use std::error::Error;
use std::fmt::Write;

use lambda_runtime::Diagnostic;

/// What the runtime is told of a failed invocation: the error's own name and every cause.
pub fn diagnostic(error_type: &str, error: &(dyn Error + 'static)) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message: chain(error) }
}

/// An error's text and those of its causes, from the outermost in.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").expect("writing to a String does not fail");
        source = cause.source();
    }
    text
}
