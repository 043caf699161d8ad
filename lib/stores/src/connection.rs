//! How a store is reached, and what its errors mean.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hardmine_records::{Error, Result};
use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::Location;

/// How long is waited for a store to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a request is tried again.
const RETRIES: usize = 4;
/// How long a request is tried again and again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store that `location` lies in. Credentials and addresses come from the environment, under the names that the
/// store's own tools use; nothing is asked of the store yet.
///
/// # Errors
/// Settings in the environment that contradict each other.
pub fn connect(location: &Location) -> Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: PATIENCE, ..RetryConfig::default() };
    let address = std::env::var("AWS_ENDPOINT_URL").or_else(|_| std::env::var("AWS_ENDPOINT")).unwrap_or_default();
    // Whoever names an address without encryption wants none.
    let plain = address.starts_with("http://");
    // A timeout would be one of the whole request, and a large file may take any time.
    let options = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout_disabled().with_allow_http(plain);
    let bucket = location.bucket();
    let store: Arc<dyn ObjectStore> = match location.scheme() {
        "gs" => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_client_options(options)
                .build()
                .map_err(|error| failed(location, &error))?,
        ),
        _ => Arc::new(
            AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_client_options(options)
                .build()
                .map_err(|error| failed(location, &error))?,
        ),
    };
    Ok(store)
}

/// What an error of a store means. Those that another machine might not meet are of a kind of the operating system's.
pub(crate) fn failed(location: &Location, error: &object_store::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let cause = cause.to_string();
    let cause = said(&cause);
    let cause = cause.split_once(" (os error").map_or(cause, |(cause, _)| cause);
    let hint = format!("credentials come from the environment: {}", location.credentials());
    match error {
        object_store::Error::NotFound { .. } => Error::new(location, "is not there"),
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            let text = format!("the store refuses this ({cause})");
            Error::io(location)(io::Error::new(io::ErrorKind::PermissionDenied, text)).hint(hint)
        }
        _ => {
            let text = format!("the store can't be used ({cause})");
            Error::io(location)(io::Error::new(io::ErrorKind::NotConnected, text)).hint(hint)
        }
    }
}

/// What a store says in its answer, which is XML; or else the whole error.
fn said(error: &str) -> &str {
    let message = error.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    message.map_or(error, |(message, _)| message.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn a_store_has_its_say() {
        let answer = "404 Not Found: <?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>No such bucket.</Message>";
        assert_eq!(said(answer), "No such bucket");
        assert_eq!(said("connection refused"), "connection refused");
    }
}
