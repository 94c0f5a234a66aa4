//! What every work queue must do.

#![expect(clippy::unwrap_used, reason = "a suite of tests says what is wrong by panicking")]

use tidegate_store::{Fence, Leased, MetaStore, WorkQueue, WorkUnit};
use tidegate_vocab::Timestamp;

use super::Refusal;
use crate::samples::{digest, named, pipeline};

/// Runs the suite; `make` gives an empty queue, with the metadata store that hands out its fences.
///
/// # Panics
/// When the queue does not do what it must.
pub async fn work_queue<S: WorkQueue + MetaStore>(make: impl AsyncFn() -> S) {
    units_are_done_once_and_in_order(&make().await).await;
    a_lease_that_ran_out_returns(&make().await).await;
    a_stale_fence_does_nothing(&make().await).await;
    a_newer_fence_ends_older_leases(&make().await).await;
}

fn unit(number: u64) -> WorkUnit {
    WorkUnit { key: digest(number), plan: format!("clean part {number}").into_bytes() }
}

async fn lease<S: WorkQueue>(queue: &S, fence: Fence, now: i64) -> Option<Leased> {
    queue.lease(fence, &pipeline(), "worker", Timestamp(now), Timestamp(now + 10)).await.unwrap()
}

async fn units_are_done_once_and_in_order<S: WorkQueue + MetaStore>(queue: &S) {
    let (p, fence) = (pipeline(), queue.take_fence("suite").await.unwrap());
    assert_eq!(lease(queue, fence, 0).await, None);
    for number in [3, 1, 2] {
        assert!(queue.enqueue(fence, &p, unit(number)).await.unwrap());
    }
    assert!(!queue.enqueue(fence, &p, unit(3)).await.unwrap(), "the same work is there once");
    assert!(queue.enqueue(fence, &named("other"), unit(3)).await.unwrap(), "each pipeline has its own");
    assert_eq!(queue.pending(&p).await.unwrap(), 3);

    let first = lease(queue, fence, 0).await.unwrap();
    assert_eq!((&first.unit, first.lease, first.owner.as_str()), (&unit(3), 1, "worker"));
    let second = lease(queue, fence, 0).await.unwrap();
    assert_eq!(second.unit, unit(1));
    queue.complete(&first, digest(30)).await.unwrap();
    queue.complete(&first, digest(30)).await.unwrap();
    let other = queue.complete(&first, digest(31)).await;
    assert_eq!(Refusal::of(&other), Some(Refusal::Conflict), "a second, different result is refused");
    assert_eq!(queue.result(&p, &digest(3)).await.unwrap(), Some(digest(30)));
    assert_eq!(queue.result(&p, &digest(1)).await.unwrap(), None);
    assert!(!queue.enqueue(fence, &p, unit(3)).await.unwrap(), "done work is not done again");

    queue.release(&second).await.unwrap();
    let again = lease(queue, fence, 0).await.unwrap();
    assert_eq!((again.unit, again.lease), (unit(1), 2), "a released unit keeps its place");
    assert_eq!(lease(queue, fence, 0).await.unwrap().unit, unit(2));
    assert_eq!(lease(queue, fence, 0).await, None);
    assert_eq!(queue.pending(&p).await.unwrap(), 2);
}

async fn a_lease_that_ran_out_returns<S: WorkQueue + MetaStore>(queue: &S) {
    let (p, fence) = (pipeline(), queue.take_fence("suite").await.unwrap());
    queue.enqueue(fence, &p, unit(1)).await.unwrap();
    let slow = lease(queue, fence, 0).await.unwrap();
    assert_eq!(lease(queue, fence, 9).await, None, "the lease runs until 10");
    let quick = lease(queue, fence, 10).await.unwrap();
    assert_eq!((&quick.unit, quick.lease), (&slow.unit, 2));
    assert_eq!(Refusal::of(&queue.complete(&slow, digest(5)).await), Some(Refusal::Conflict), "the slow worker lost its lease");
    queue.release(&slow).await.unwrap();
    assert_eq!(lease(queue, fence, 11).await, None, "the slow worker cannot give away what it lost");
    queue.complete(&quick, digest(5)).await.unwrap();
    // The work is the same wherever it is done, so a late worker that says the same is not wrong.
    queue.complete(&slow, digest(5)).await.unwrap();
    queue.release(&quick).await.unwrap();
    assert_eq!(lease(queue, fence, 1_000).await, None, "done work does not come back");

    queue.enqueue(fence, &p, unit(2)).await.unwrap();
    let late = lease(queue, fence, 0).await.unwrap();
    queue.complete(&late, digest(6)).await.unwrap();
    assert_eq!(queue.result(&p, &digest(2)).await.unwrap(), Some(digest(6)), "an expired lease that nobody took still counts");
}

async fn a_stale_fence_does_nothing<S: WorkQueue + MetaStore>(queue: &S) {
    let (p, early) = (pipeline(), queue.take_fence("early").await.unwrap());
    queue.enqueue(early, &p, unit(1)).await.unwrap();
    let leased = lease(queue, early, 0).await.unwrap();
    let late = queue.take_fence("late").await.unwrap();
    let fenced = Some(Refusal::Fenced);
    assert_eq!(Refusal::of(&queue.enqueue(early, &p, unit(2)).await), fenced);
    assert_eq!(Refusal::of(&queue.lease(early, &p, "w", Timestamp(99), Timestamp(100)).await), fenced);
    assert_eq!(Refusal::of(&queue.complete(&leased, digest(1)).await), fenced);
    assert_eq!(Refusal::of(&queue.release(&leased).await), fenced);
    assert_eq!(lease(queue, late, 10).await.unwrap().lease, 2);
}

async fn a_newer_fence_ends_older_leases<S: WorkQueue + MetaStore>(queue: &S) {
    let (p, first) = (pipeline(), queue.take_fence("died").await.unwrap());
    queue.enqueue(first, &p, unit(1)).await.unwrap();
    lease(queue, first, 0).await.unwrap();
    assert_eq!(lease(queue, first, 0).await, None, "the process itself holds the unit");
    let second = queue.take_fence("took over").await.unwrap();
    let taken = lease(queue, second, 0).await.unwrap();
    assert_eq!((taken.unit, taken.lease), (unit(1), 2), "a process that died does not keep its units until the lease runs out");
}
