#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| causeway_proptests::decoders::mqtt(bytes));
