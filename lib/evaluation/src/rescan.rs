//! Tables that are read again by every scan, so that they need not fit in memory.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use hardmine_records::Result;

use crate::engine::{failed, wrap};

/// Batches of a file, in order.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>>>;

/// A table with the batches that `open` gives, each time that it is called; `place` is for errors.
pub(crate) fn rescanned(
    place: &str,
    schema: SchemaRef,
    open: impl Fn() -> Result<Batches> + Send + Sync + 'static,
) -> Result<Arc<dyn TableProvider>> {
    let partition = Rescanned { schema: schema.clone(), open: Arc::new(open) };
    Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(partition)]).map_err(failed(place))?))
}

struct Rescanned {
    schema: SchemaRef,
    open: Arc<dyn Fn() -> Result<Batches> + Send + Sync>,
}

impl fmt::Debug for Rescanned {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rescanned").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Rescanned {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let (sender, open) = (stream.tx(), self.open.clone());
        stream.spawn_blocking(move || {
            for batch in open().map_err(wrap)? {
                let batch = batch.map_err(wrap)?;
                // Nobody listens once the query has all it wants.
                if sender.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}
