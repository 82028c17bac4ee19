//! A cloud and two edges under any history of writes, cuts, crashes, and disks that fail, are wiped
//! or let go of history.

use causeway_log::store::memory::Fault;
use causeway_proptests::sites::{Act, World};
use proptest::prelude::*;

fn act() -> impl Strategy<Value = Act> {
    let (node, map, pod) = (0..2_usize, 0..2_usize, 0..3_usize);
    let who = prop::option::of(0..2_usize);
    prop_oneof![
        4 => (map.clone(), any::<u8>()).prop_map(|(name, value)| Act::Map(name, value)),
        4 => (pod.clone(), node.clone(), map.clone())
            .prop_map(|(name, at, reads)| Act::Pod(name, at, reads)),
        1 => map.clone().prop_map(Act::DeleteMap),
        3 => pod.clone().prop_map(Act::DeletePod),
        4 => (node.clone(), pod, any::<u8>()).prop_map(|(at, name, phase)| Act::Report(at, name, phase)),
        2 => (node.clone(), map, any::<u8>()).prop_map(|(at, name, value)| Act::Edit(at, name, value)),
        4 => node.clone().prop_map(Act::Dial),
        2 => node.clone().prop_map(Act::Cut),
        1 => node.clone().prop_map(Act::CrashEdge),
        1 => node.prop_map(Act::Wipe),
        1 => Just(Act::CrashCloud),
        1 => (who.clone(), fault()).prop_map(|(who, fault)| Act::Fail(who, fault)),
        2 => who.clone().prop_map(Act::Mend),
        1 => who.prop_map(Act::Trim),
        12 => any::<u8>().prop_map(Act::Steps),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Full),
        Just(Fault::WriteFails),
        Just(Fault::SyncFails),
    ]
}

proptest! {
    #[test]
    fn any_history_comes_to_rest_and_agrees(
        seed in any::<u64>(),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut world = World::new(seed);
        for act in &acts {
            world.act(act);
        }
        world.heal();
        world.check();
    }
}
