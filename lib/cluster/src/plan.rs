//! Units of work as a node of a DataFusion plan: one partition for each unit, and a row for what came of it.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use futures::TryStreamExt;
use hardmine_units::{Failure, Hands};

/// How long a worker takes no other unit when it could not do one.
const PENALTY: Duration = Duration::from_secs(5);

/// Runs the units whose numbers its input has, of the job in a file.
///
/// The numbers are rows of the input rather than a field of this node because a scheduler of Ballista gives each task
/// its own partitions of a table that it knows, but all of a leaf that it does not know.
#[derive(Clone, Debug)]
pub(crate) struct UnitsExec {
    /// The file of the job.
    pub(crate) job: PathBuf,
    /// Numbers of units.
    numbers: Arc<dyn ExecutionPlan>,
    /// Who runs them; a client and a scheduler only hand them on.
    hands: Option<Arc<Hands>>,
    properties: Arc<PlanProperties>,
}

impl UnitsExec {
    /// The `units` of the job in the file `job`, each in a partition of its own.
    ///
    /// # Errors
    /// None in practice: the numbers fit their column.
    pub(crate) fn of(job: &Path, units: &[usize], hands: Option<Arc<Hands>>) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Field::new("unit", DataType::UInt64, false)]));
        let partition = |&unit: &usize| {
            let number: ArrayRef = Arc::new(UInt64Array::from(vec![unit as u64]));
            Ok(vec![RecordBatch::try_new(schema.clone(), vec![number])?])
        };
        let partitions = units.iter().map(partition).collect::<Result<Vec<_>>>()?;
        let numbers = MemorySourceConfig::try_new_exec(&partitions, schema.clone(), None)?;
        Ok(UnitsExec::new(job, numbers, hands))
    }

    pub(crate) fn new(job: &Path, numbers: Arc<dyn ExecutionPlan>, hands: Option<Arc<Hands>>) -> Self {
        let partitions = numbers.properties().output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        UnitsExec { job: job.into(), numbers, hands, properties }
    }
}

/// The columns of what came of units: the unit's number, and the error of its command if it failed.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("unit", DataType::UInt64, false), Field::new("error", DataType::Utf8, true)]))
}

impl DisplayAs for UnitsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "UnitsExec: job={}", self.job.display())
    }
}

impl ExecutionPlan for UnitsExec {
    fn name(&self) -> &str {
        "UnitsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.numbers]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(numbers), true) => Ok(Arc::new(UnitsExec::new(&self.job, numbers, self.hands.clone()))),
            _ => internal_err!("units of work have one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(hands) = self.hands.clone() else {
            return Err(DataFusionError::Execution("units of work are run by a worker".to_owned()));
        };
        let job = self.job.clone();
        let rows = self.numbers.execute(partition, context)?.and_then(move |numbers| {
            let (job, hands) = (job.clone(), hands.clone());
            async move {
                let mut rows = Vec::new();
                for &unit in numbers.column(0).as_primitive::<UInt64Type>().values() {
                    rows.push(row(&job, unit, &hands).await?);
                }
                Ok(concat_batches(&schema(), &rows)?)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), rows)))
    }
}

/// What comes of `unit` of the job in the file `job`.
async fn row(job: &Path, unit: u64, hands: &Arc<Hands>) -> Result<RecordBatch> {
    let (job, hands) = (job.to_owned(), hands.clone());
    let run = move || {
        let job = hands.job(&job)?;
        let of_job = job.units.get(unit as usize);
        hands.run(&job, of_job.ok_or_else(|| Failure::Worker(format!("the job has no unit {unit}")))?)
    };
    let error = match tokio::task::spawn_blocking(run).await {
        Ok(Ok(_)) => None,
        Ok(Err(Failure::Command(error))) => Some(error),
        // The scheduler gives the unit to another worker, or tries again. Who fails at once would ask for the next
        // unit at once, and use up all tries before others are done with what they have in hand.
        Ok(Err(Failure::Worker(error))) => {
            tracing::error!("{error}");
            tokio::time::sleep(PENALTY).await;
            return Err(DataFusionError::IoError(std::io::Error::other(error)));
        }
        Err(error) => return Err(DataFusionError::ExecutionJoin(Box::new(error))),
    };
    let columns: Vec<ArrayRef> =
        vec![Arc::new(UInt64Array::from(vec![unit])), Arc::new(StringArray::from(vec![error]))];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// The [`UnitsExec`] that a plan is, if it is one.
pub(crate) fn units(plan: &Arc<dyn ExecutionPlan>) -> Option<&UnitsExec> {
    (plan.as_ref() as &dyn Any).downcast_ref()
}
