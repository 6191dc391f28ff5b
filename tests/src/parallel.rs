//! Work on every processor.

use std::sync::Mutex;
use std::thread;

/// What `work` makes of each item, in their order, on as many threads as there are processors.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(vec![]);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().ok().and_then(|mut items| items.next());
                    let Some((at, item)) = taken else { break };
                    let made = work(item);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, made));
                    }
                }
            });
        }
    });
    let mut done: Vec<(usize, R)> = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_keep_the_order_of_their_items() {
        let items: Vec<u64> = (0..100).collect();
        let squares: Vec<u64> = items.iter().map(|item| item * item).collect();
        assert_eq!(map(&items, |item| item * item), squares);
    }
}
