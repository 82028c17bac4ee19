//! The conformance suite on both stores.

use causeway_log::store::conformance::{CHECKS, Harness};

use crate::harness::{Fjall, Memory};

fn run<H: Harness>(make: impl Fn() -> H) {
    for (name, check) in CHECKS {
        println!("{name}");
        check(&mut make());
    }
}

#[test]
fn memory_conforms() {
    run(Memory::new);
}

#[test]
fn fjall_conforms() {
    run(Fjall::new);
}
