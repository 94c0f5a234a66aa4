//! The model of a work queue: a list of units in order of arrival.

use async_trait::async_trait;
use tidegate_store::{Fence, Leased, StoreError, WorkQueue, WorkUnit};
use tidegate_vocab::{Digest, PipelineId, Timestamp};

use crate::MemoryStore;

/// All units, done ones too.
#[derive(Debug, Default, Clone)]
pub(crate) struct Queue(Vec<Place>);

#[derive(Debug, Clone)]
struct Place {
    pipeline: PipelineId,
    unit: WorkUnit,
    lease: u64,
    fence: u64,
    until: Option<Timestamp>,
    result: Option<Digest>,
}

impl Queue {
    fn find(&mut self, pipeline: &PipelineId, key: &Digest) -> Option<&mut Place> {
        self.0.iter_mut().find(|place| place.pipeline == *pipeline && place.unit.key == *key)
    }
}

#[async_trait]
impl WorkQueue for MemoryStore {
    async fn enqueue(&self, fence: Fence, pipeline: &PipelineId, unit: WorkUnit) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        kept.check(fence)?;
        let new = kept.queue.find(pipeline, &unit.key).is_none();
        if new {
            kept.queue.0.push(Place { pipeline: pipeline.clone(), unit, lease: 0, fence: 0, until: None, result: None });
        }
        Ok(new)
    }

    async fn lease(
        &self,
        fence: Fence,
        pipeline: &PipelineId,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        let mut kept = self.kept();
        kept.check(fence)?;
        let mut free = kept.queue.0.iter_mut().filter(|place| place.pipeline == *pipeline && place.result.is_none());
        let Some(place) = free.find(|place| place.fence < fence.0 || place.until.is_none_or(|until| until <= now)) else { return Ok(None) };
        place.lease += 1;
        place.fence = fence.0;
        place.until = Some(until);
        let unit = place.unit.clone();
        Ok(Some(Leased { pipeline: pipeline.clone(), unit, fence, lease: place.lease, owner: owner.to_owned(), until }))
    }

    async fn complete(&self, leased: &Leased, result: Digest) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check(leased.fence)?;
        let refused = |found: String| Err(StoreError::conflict("work unit", leased.lease, found));
        match kept.queue.find(&leased.pipeline, &leased.unit.key) {
            None => refused("none".into()),
            Some(Place { result: Some(present), .. }) if *present == result => Ok(()),
            Some(Place { result: Some(present), .. }) => refused(present.short()),
            Some(place) if place.lease != leased.lease => refused(place.lease.to_string()),
            Some(place) => {
                place.result = Some(result);
                Ok(())
            }
        }
    }

    async fn release(&self, leased: &Leased) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check(leased.fence)?;
        if let Some(place) = kept.queue.find(&leased.pipeline, &leased.unit.key).filter(|place| place.lease == leased.lease) {
            place.until = None;
        }
        Ok(())
    }

    async fn result(&self, pipeline: &PipelineId, key: &Digest) -> Result<Option<Digest>, StoreError> {
        Ok(self.kept().queue.find(pipeline, key).and_then(|place| place.result))
    }

    async fn pending(&self, pipeline: &PipelineId) -> Result<u64, StoreError> {
        let kept = self.kept();
        Ok(kept.queue.0.iter().filter(|place| place.pipeline == *pipeline && place.result.is_none()).count() as u64)
    }
}
