//! Reading and working at the same time.

use std::sync::mpsc::sync_channel;
use std::thread;

use hardmine_records::Result;

/// Calls `each` with every item of `source`, whose next ones are read on a thread of its own meanwhile: one, and as
/// many more as may be `waiting` (small items want some, lest both sides wait by turns). Gives `source` back.
///
/// # Errors
/// The first of `source` or of `each`, at once; `waiting` and one more items may have been read by then.
pub fn read_ahead<S, T>(mut source: S, waiting: usize, mut each: impl FnMut(T) -> Result<()>) -> Result<S>
where
    S: Iterator<Item = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let (sender, items) = sync_channel(waiting);
    let reader = thread::spawn(move || {
        for item in &mut source {
            let last = item.is_err();
            if sender.send(item).is_err() || last {
                break;
            }
        }
        source
    });
    // An early return leaves the reader behind: it may wait for a pipe, and ends with its next item.
    items.into_iter().try_for_each(|item| each(item?))?;
    Ok(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardmine_records::Error;

    #[test]
    fn items_come_in_order_and_the_first_error_ends_it() {
        let mut seen = Vec::new();
        let rest = read_ahead((0..5).map(Ok), 0, |item| {
            seen.push(item);
            Ok(())
        });
        assert_eq!((seen, rest.is_ok()), (vec![0, 1, 2, 3, 4], true));
        let fails = (0..).map(|item| if item == 3 { Err(Error::new("row 3", "broken")) } else { Ok(item) });
        assert_eq!(read_ahead(fails, 2, |_| Ok(())).err().unwrap().to_string(), "row 3: broken");
        let stops =
            read_ahead((0..).map(Ok), 1, |item: u64| if item < 7 { Ok(()) } else { Err(Error::new("disk", "full")) });
        assert_eq!(stops.err().unwrap().to_string(), "disk: full");
    }
}
