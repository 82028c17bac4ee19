//! A cloud and two edges under any history of writes, cuts, crashes and wiped disks.

use causeway_proptests::sites::{Act, World};
use proptest::prelude::*;

fn act() -> impl Strategy<Value = Act> {
    let (node, map, pod) = (0..2_usize, 0..2_usize, 0..3_usize);
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
        12 => any::<u8>().prop_map(Act::Steps),
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
