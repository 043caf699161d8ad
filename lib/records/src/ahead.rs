//! Reading and working at the same time.

use std::sync::mpsc::sync_channel;
use std::thread;

use crate::Result;

/// Calls `each` with every item of `source`, whose next one is read on a thread of its own meanwhile; never are more
/// than two in memory. Gives `source` back.
///
/// # Errors
/// The first of `source` or of `each`, at once; one more item may have been read by then.
pub fn read_ahead<S, T>(mut source: S, mut each: impl FnMut(T) -> Result<()>) -> Result<S>
where
    S: Iterator<Item = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    // A rendezvous: one item is used while one more waits.
    let (sender, items) = sync_channel(0);
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
    use crate::Error;

    #[test]
    fn items_come_in_order_and_the_first_error_ends_it() {
        let mut seen = Vec::new();
        let rest = read_ahead((0..5).map(Ok), |item| {
            seen.push(item);
            Ok(())
        });
        assert_eq!((seen, rest.is_ok()), (vec![0, 1, 2, 3, 4], true));
        let fails = (0..).map(|item| if item == 3 { Err(Error::new("row 3", "broken")) } else { Ok(item) });
        assert_eq!(read_ahead(fails, |_| Ok(())).err().unwrap().to_string(), "row 3: broken");
        let stops =
            read_ahead((0..).map(Ok), |item: u64| if item < 7 { Ok(()) } else { Err(Error::new("disk", "full")) });
        assert_eq!(stops.err().unwrap().to_string(), "disk: full");
    }
}
