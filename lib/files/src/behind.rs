//! Encoding Parquet while the next rows are made.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use arrow::array::RecordBatch;
use hardmine_records::{Error, Result};
use parquet::arrow::ArrowWriter;

use crate::OutputFile;

/// A row group ends when it has grown to so many bytes, so that memory stays bounded.
const ROW_GROUP_BYTES: usize = 64 << 20;

type Parquet = ArrowWriter<OutputFile>;

/// A Parquet writer on a thread of its own, for which two batches may wait.
pub(crate) struct WriteBehind {
    batches: Option<SyncSender<RecordBatch>>,
    thread: Option<JoinHandle<Result<Parquet>>>,
    place: String,
}

impl WriteBehind {
    /// `place` is the name used in errors.
    pub(crate) fn new(mut writer: Parquet, place: &str) -> Self {
        let (sender, batches) = sync_channel::<RecordBatch>(2);
        let (place, named) = (place.to_owned(), place.to_owned());
        let thread = thread::spawn(move || {
            for batch in batches {
                writer.write(&batch).map_err(Error::at(&named))?;
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush().map_err(Error::at(&named))?;
                }
            }
            Ok(writer)
        });
        WriteBehind { batches: Some(sender), thread: Some(thread), place }
    }

    /// Hands the next rows over; an error may be that of rows before.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &self.batches {
            Some(batches) if batches.send(batch.clone()).is_ok() => Ok(()),
            // The thread has ended before its input has: it failed.
            _ => self.join().map(drop),
        }
    }

    /// The writer, once all rows are encoded.
    pub(crate) fn finish(mut self) -> Result<Parquet> {
        self.join()
    }

    fn join(&mut self) -> Result<Parquet> {
        self.batches = None;
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Err(Error::new(&self.place, "was not written, as said before")),
        }
    }
}

impl Drop for WriteBehind {
    /// Waits for the thread, whose temporary file must be gone before the program is.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
