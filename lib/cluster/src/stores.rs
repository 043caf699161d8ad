//! Object stores in plans of DataFusion: each is connected to when a plan first reads from it.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use hardmine_stores::{Location, connect};
use object_store::ObjectStore;
use url::Url;

/// Connects to stores by their URLs, with credentials from the environment.
#[derive(Debug, Default)]
struct Stores(DefaultObjectStoreRegistry);

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.0.get_store(url).or_else(|unknown| {
            let Ok(location) = Location::parse(url.as_str()) else { return Err(unknown) };
            let store = connect(&location).map_err(|error| DataFusionError::External(Box::new(error)))?;
            self.0.register_store(url, store.clone());
            Ok(store)
        })
    }
}

/// What plans run in, with stores; what does not fit into memory goes into `folder`, where one is given.
///
/// # Errors
/// The folder can't be made.
pub(crate) fn runtime_env(folder: Option<&str>) -> Result<Arc<RuntimeEnv>> {
    let env = RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(Stores::default()));
    let env = match folder {
        Some(folder) => env.with_temp_file_path(folder),
        None => env,
    };
    env.build().map(Arc::new)
}
