//! What the edge reported of objects that the cloud ends on its own.

use super::*;

#[test]
fn a_pod_deleted_by_force_ends_its_report() {
    let mut bench = Bench::new();
    let (pod, silent) = (key("pods", "p"), key("pods", "silent"));
    let spec = json!({"spec": {"nodeName": "edge-1"}});
    bench.desire(&pod, Op::Put, &spec, None);
    bench.desire(&silent, Op::Put, &spec, None);
    let running = json!({"spec": {"nodeName": "edge-1"}, "status": {"phase": "Running"}});
    let write = Write {
        key: pod.clone(),
        expected: Expected::At(bench.modified(&pod)),
        change: Change::Status(running),
    };
    bench.write(write).unwrap();
    bench.desire(&pod, Op::Delete, &Value::Null, None);
    bench.desire(&silent, Op::Delete, &Value::Null, None);
    let ops = |bench: &Bench| -> Vec<Op> {
        let records = bench.up_records();
        records.iter().map(|it| it.record.header.op).collect()
    };
    assert_eq!(
        ops(&bench),
        [Op::Status, Op::Delete],
        "once, and only of what was reported"
    );
    bench.desire(&pod, Op::Delete, &Value::Null, None);
    assert_eq!(ops(&bench), [Op::Status, Op::Delete]);
    assert_eq!(
        *bench.up_head.borrow(),
        bench.up_records()[1].record.header.offset
    );
}
