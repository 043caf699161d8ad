//! How units of work travel: as JSON in the plans of Ballista, beside its own nodes.

use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use hardmine_units::{Hands, check_version, version};
use serde::{Deserialize, Serialize};

use crate::plan::{UnitsExec, units};

/// What the bytes of a node of ours begin with. Those of Ballista are protobuf, where this begins no message.
const MARK: &[u8] = b"\0hardmine";

/// Reads and writes nodes of ours, and leaves others to Ballista.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    /// Who runs the units that are read; none in a scheduler and a client.
    hands: Option<Arc<Hands>>,
    ballista: BallistaPhysicalExtensionCodec,
}

impl Codec {
    /// That of a worker.
    pub(crate) fn of_worker(hands: Hands) -> Self {
        Codec { hands: Some(Arc::new(hands)), ballista: BallistaPhysicalExtensionCodec::default() }
    }
}

/// A [`UnitsExec`] as it travels.
#[derive(Serialize, Deserialize)]
struct Message {
    version: String,
    job: PathBuf,
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(text) = bytes.strip_prefix(MARK) else {
            return self.ballista.try_decode(bytes, inputs, context, converter);
        };
        let message: Message = serde_json::from_slice(text).map_err(|e| DataFusionError::External(Box::new(e)))?;
        check_version(&message.version).map_err(|error| DataFusionError::Execution(error.to_string()))?;
        match inputs {
            [numbers] => Ok(Arc::new(UnitsExec::new(&message.job, numbers.clone(), self.hands.clone()))),
            _ => internal_err!("units of work have one input"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(UnitsExec { job, .. }) = units(&node) else {
            return self.ballista.try_encode(node, bytes, converter);
        };
        let message = Message { version: version(), job: job.clone() };
        bytes.extend_from_slice(MARK);
        serde_json::to_writer(bytes, &message).map_err(|e| DataFusionError::External(Box::new(e)))
    }
}
