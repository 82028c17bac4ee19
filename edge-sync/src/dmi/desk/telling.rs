//! What is said next, and what follows from the answer.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use causeway_projections::twin::DeviceName;
use serde_json::Value as Json;

use super::mapper::{Item, Mapper, Told};
use super::{Call, Decision, Desk, Errand, MapperId, Outcome, Refusal};

impl Desk {
    /// The next call, of any mapper that is free. `None`: nothing to call before
    /// [`Desk::timeout`].
    pub(in crate::dmi) fn poll(&mut self, now: Duration) -> Option<Errand> {
        let free = self
            .mappers
            .iter()
            .filter(|(_, mapper)| mapper.is_free(now));
        let free: Vec<_> = free.map(|(id, _)| *id).collect();
        free.into_iter().find_map(|id| self.errand(id, now))
    }

    /// When there may be something to call, or a mapper is lost.
    pub(in crate::dmi) fn timeout(&self, now: Duration) -> Option<Duration> {
        let mappers = self.mappers.values();
        let calls = mappers.clone().filter_map(|mapper| mapper.timeout(now));
        let lost = mappers.filter_map(Mapper::lost_at);
        calls.chain(lost.filter(|at| *at > now)).min()
    }

    fn errand(&mut self, id: MapperId, now: Duration) -> Option<Errand> {
        let mut after = Bound::Unbounded;
        loop {
            let mapper = self.mappers.get_mut(&id)?;
            let next = mapper.due.range((after, Bound::Unbounded)).next();
            let Some((item, backoff)) = next.map(|(item, backoff)| (item.clone(), *backoff)) else {
                let call = mapper.ask(now)?;
                return Some(self.send(id, call, None));
            };
            let decision = if backoff.is_over(now) {
                self.decide(id, &item)
            } else {
                Decision::Wait
            };
            match decision {
                Decision::Call(call) => return Some(self.send(id, call, Some(item))),
                Decision::Wait => {}
                Decision::Settled => {
                    let mapper = self.mappers.get_mut(&id)?;
                    mapper.due.remove(&item);
                }
            }
            after = Bound::Excluded(item);
        }
    }

    fn send(&mut self, id: MapperId, call: Call, item: Option<Item>) -> Errand {
        let mapper = self
            .mappers
            .get_mut(&id)
            .expect("its errand was just found");
        mapper.is_busy = true;
        Errand {
            mapper: id,
            generation: mapper.generation,
            call,
            item,
        }
    }

    fn decide(&self, id: MapperId, item: &Item) -> Decision {
        let Some(mapper) = self.mappers.get(&id) else {
            return Decision::Settled;
        };
        match item {
            Item::Model(name) => self.decide_model(mapper, name),
            Item::Device(name) => self.decide_device(id, mapper, name),
        }
    }

    fn decide_model(&self, mapper: &Mapper, name: &DeviceName) -> Decision {
        let told = mapper.models.get(name);
        match (self.model_of(mapper, name), told) {
            (Some(model), None) => Decision::Call(Call::CreateModel(Arc::clone(model))),
            (Some(model), Some(told)) if told["spec"] != model["spec"] => {
                Decision::Call(Call::UpdateModel(Arc::clone(model)))
            }
            (None, Some(_)) if !is_used(mapper, name) => {
                Decision::Call(Call::RemoveModel(name.clone()))
            }
            (Some(_) | None, Some(_)) | (None, None) => Decision::Settled,
        }
    }

    /// The model of a name, when a device of the mapper names it.
    fn model_of(&self, mapper: &Mapper, name: &DeviceName) -> Option<&Arc<Json>> {
        mapper.devices.iter().find_map(|device| {
            let described = &self.devices.get(device)?.described;
            let model = described.model_name(device)?;
            described.model().filter(|_| model == *name)
        })
    }

    fn decide_device(&self, id: MapperId, mapper: &Mapper, name: &DeviceName) -> Decision {
        let told = mapper.told.get(name);
        let placed = self.devices.get(name);
        let Some(placed) = placed.filter(|placed| placed.mapper == Some(id)) else {
            return match told {
                Some(_) => Decision::Call(Call::Remove(name.clone())),
                None => Decision::Settled,
            };
        };
        let described = &placed.described;
        match told {
            // Told as it is, or not to be told as it is: it comes again when it changes.
            _ if !placed.is_ready => return Decision::Settled,
            Some(Told::Said(said)) if said.says_the_same_as(described) => return Decision::Settled,
            Some(_) | None => {}
        }
        let model = described.model_name(name).map(Item::Model);
        let model = model.and_then(|model| mapper.due.get(&model));
        // One try: mappers that know no models serve devices all the same.
        let is_first = model.is_some_and(|backoff| backoff.failures() == 0);
        if is_first || (told.is_none() && self.is_held_elsewhere(id, name)) {
            return Decision::Wait;
        }
        Decision::Call(match told {
            None | Some(Told::Unsure) => Call::Register(described.clone()),
            Some(Told::Registered | Told::Said(_)) => Call::Update(described.clone()),
        })
    }

    /// Whether another mapper, one that can be reached, has yet to let go of a device.
    pub(super) fn is_held_elsewhere(&self, id: MapperId, name: &DeviceName) -> bool {
        let mut others = self.mappers.iter().filter(|(other, _)| **other != id);
        others.any(|(_, it)| it.told.contains_key(name) && !it.is_failing())
    }

    /// A call went so. `jitter` is in [0, 1). Gives whether it was refused for the first time.
    pub(in crate::dmi) fn answered(
        &mut self,
        errand: Errand,
        outcome: Outcome,
        now: Duration,
        jitter: f64,
    ) -> bool {
        let Errand {
            mapper: id,
            generation,
            call,
            item,
        } = errand;
        let mapper = self.mappers.get_mut(&id);
        let Some(mapper) = mapper.filter(|mapper| mapper.generation == generation) else {
            return false;
        };
        let (was_away, was_failing) = (mapper.is_away(now), mapper.is_failing());
        if !mapper.reached(&outcome, now, jitter) {
            if outcome == Outcome::Silent {
                mapper.lost(call);
            }
            if mapper.is_away(now) {
                self.replace(now);
            }
            return !was_failing;
        }
        let refusal = match outcome {
            Outcome::Refused(refusal) => Some(refusal),
            Outcome::Done | Outcome::Absent | Outcome::Silent => None,
        };
        let lets_go = matches!(call, Call::Remove(_) | Call::Ask(_));
        let forgot = matches!(call, Call::Ask(Some(_))) && refusal == Some(Refusal::Missing);
        let is_settled = mapper.heard(call, refusal);
        let mut is_new = false;
        if let Some(backoff) = item.and_then(|item| mapper.due.get_mut(&item)) {
            if is_settled {
                // Looked at again: it may have changed meanwhile.
                backoff.pass();
            } else {
                is_new = backoff.failures() == 0;
                backoff.fail(now, jitter);
            }
        }
        self.is_changed |= lets_go && is_settled;
        if forgot {
            self.touch_all(id);
        }
        if was_away {
            self.replace(now);
        }
        is_new
    }
}

impl Mapper {
    /// Takes note of an answer: `None` for yes. `false`: the same is to be tried again later.
    fn heard(&mut self, call: Call, refusal: Option<Refusal>) -> bool {
        use Refusal::{Exists, Missing, Other, Unimplemented};
        match (call, refusal) {
            (Call::CreateModel(model) | Call::UpdateModel(model), None | Some(Unimplemented)) => {
                self.models.insert(name_of(&model), model);
            }
            // It has one, in some form.
            (Call::CreateModel(model), Some(Exists)) => {
                self.models.insert(name_of(&model), Arc::new(Json::Null));
            }
            (Call::UpdateModel(model), Some(Missing)) => {
                self.models.remove(&name_of(&model));
            }
            // A model too many does no harm.
            (Call::RemoveModel(name), _) => {
                self.models.remove(&name);
            }
            (Call::Register(described), None) => {
                let name = described.name();
                let told = match self.told.get(&name) {
                    Some(_) => Told::Registered,
                    None => Told::Said(described),
                };
                self.told.insert(name, told);
            }
            (Call::Register(described), Some(Exists)) => {
                self.told.insert(described.name(), Told::Registered);
            }
            (Call::Update(described), None) => {
                let name = described.name();
                let before = self.told.insert(name.clone(), Told::Said(described));
                self.release_model(&name, before);
            }
            (Call::Update(described), Some(Missing)) => {
                self.told.remove(&described.name());
            }
            (Call::Remove(name), None | Some(Missing | Unimplemented)) => {
                let before = self.told.remove(&name);
                self.release_model(&name, before);
            }
            // It was started anew and did not say so: what else does it not have?
            (Call::Ask(Some(name)), Some(Missing)) => {
                self.models.clear();
                self.told.remove(&name);
                self.told.values_mut().for_each(|told| *told = Told::Unsure);
            }
            (Call::Ask(_), _) => {}
            (Call::CreateModel(_) | Call::UpdateModel(_), Some(_))
            | (Call::Register(_), Some(Missing | Unimplemented | Other))
            | (Call::Update(_), Some(Exists | Unimplemented | Other))
            | (Call::Remove(_), Some(Exists | Other)) => return false,
        }
        true
    }

    /// A call may or may not have been obeyed.
    fn lost(&mut self, call: Call) {
        match call {
            Call::Register(described) => {
                self.told.entry(described.name()).or_insert(Told::Unsure);
            }
            Call::Update(described) => {
                self.told.insert(described.name(), Told::Registered);
            }
            Call::CreateModel(model) | Call::UpdateModel(model) => {
                self.models.remove(&name_of(&model));
            }
            // Both are said again whether or not they were obeyed.
            Call::Remove(_) | Call::RemoveModel(_) | Call::Ask(_) => {}
        }
    }

    /// A device was told otherwise before: its model may be in use no more.
    fn release_model(&mut self, device: &DeviceName, before: Option<Told>) {
        if let Some(Told::Said(said)) = before
            && let Some(model) = said.model_name(device)
        {
            self.due.entry(Item::Model(model)).or_default();
        }
    }
}

/// Whether a mapper holds a device of a model.
fn is_used(mapper: &Mapper, model: &DeviceName) -> bool {
    let mut told = mapper.told.iter();
    told.any(|(name, told)| match told {
        Told::Said(said) => said.model_name(name).as_ref() == Some(model),
        // Nobody knows which.
        Told::Unsure | Told::Registered => true,
    })
}

fn name_of(model: &Json) -> DeviceName {
    let text = |field: &str| model["metadata"][field].as_str().unwrap_or_default();
    DeviceName::new(text("namespace"), text("name"))
}
