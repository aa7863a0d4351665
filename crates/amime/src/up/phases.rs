//! Where each pod is in its life, so that no request is sent to a pod that is not there yet or not any more.
//!
//! `prepare` writes what the user's objects want, before each snapshot; `fleet` writes what runs. A pod's endpoints
//! are published from `Ready` on, and withdrawn before anything of it stops.

use amime_model::resource::Object;
use amime_model::workload::PodKey;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Wanted; its sidecar and its stand-in do not listen yet.
    Starting,
    Ready,
    /// Not wanted any more, and still there for those who hold its address.
    Draining,
}

#[derive(Debug)]
struct Life {
    phase: Phase,
    /// As it was last wanted: a draining pod is no longer among the user's objects.
    object: Arc<Object>,
}

/// Shared by the two sides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phases(Arc<Mutex<BTreeMap<PodKey, Life>>>);

impl Phases {
    /// Takes in which pods are wanted, each with its object, and returns those that are to be in the snapshot.
    /// `born` is the phase of those that are new.
    pub(super) fn want(&self, wanted: BTreeMap<PodKey, Arc<Object>>, born: Phase) -> Vec<(PodKey, Phase, Arc<Object>)> {
        let mut lives = self.lock();
        for (key, life) in lives.iter_mut() {
            if !wanted.contains_key(key) {
                life.phase = Phase::Draining;
            }
        }
        for (key, object) in wanted {
            let life = lives.entry(key).or_insert_with(|| Life { phase: born, object: object.clone() });
            life.object = object;
            if life.phase == Phase::Draining {
                // It comes back before it was gone; whether it still listens, `fleet` finds out.
                life.phase = Phase::Starting;
            }
        }
        lives.iter().map(|(key, life)| (key.clone(), life.phase, life.object.clone())).collect()
    }

    pub(super) fn of(&self, pod: &PodKey) -> Option<Phase> {
        self.lock().get(pod).map(|life| life.phase)
    }

    /// Its sidecar and its stand-in listen. Returns whether that changes anything.
    pub(super) fn ready(&self, pod: &PodKey) -> bool {
        match self.lock().get_mut(pod) {
            Some(life) if life.phase == Phase::Starting => {
                life.phase = Phase::Ready;
                true
            }
            _ => false,
        }
    }

    /// It has stopped. False where it is wanted again.
    pub(super) fn gone(&self, pod: &PodKey) -> bool {
        let mut lives = self.lock();
        let draining = lives.get(pod).is_some_and(|life| life.phase == Phase::Draining);
        if draining {
            lives.remove(pod);
        }
        draining
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PodKey, Life>> {
        // Each change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amime_model::resource::{Kind, ObjectMeta, Pod, ResourceId, Spec};

    fn wanted(names: &[&str]) -> BTreeMap<PodKey, Arc<Object>> {
        let object = |name: &str| {
            let id = ResourceId::new(Kind::Pod, "default", name);
            Arc::new(Object::made_up(id, ObjectMeta::default(), Spec::Pod(Arc::new(Pod::default()))))
        };
        names.iter().map(|name| (key(name), object(name))).collect()
    }

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "default".into(), name: name.into() }
    }

    #[test]
    fn a_life() {
        let phases = Phases::default();
        phases.want(wanted(&["a"]), Phase::Ready);
        phases.want(wanted(&["a", "b"]), Phase::Starting);
        assert_eq!((phases.of(&key("a")), phases.of(&key("b"))), (Some(Phase::Ready), Some(Phase::Starting)));
        assert!(phases.ready(&key("b")) && !phases.ready(&key("b")));
        let kept = phases.want(wanted(&["a"]), Phase::Starting);
        assert_eq!(kept.len(), 2, "a draining pod stays in the snapshot");
        assert_eq!(phases.of(&key("b")), Some(Phase::Draining));
        assert!(!phases.ready(&key("b")));
        assert!(phases.gone(&key("b")));
        assert_eq!(phases.of(&key("b")), None);
    }

    #[test]
    fn a_pod_that_comes_back_starts_again() {
        let phases = Phases::default();
        phases.want(wanted(&["a"]), Phase::Ready);
        phases.want(wanted(&[]), Phase::Starting);
        phases.want(wanted(&["a"]), Phase::Starting);
        assert_eq!(phases.of(&key("a")), Some(Phase::Starting));
        assert!(!phases.gone(&key("a")), "it is wanted");
    }
}
