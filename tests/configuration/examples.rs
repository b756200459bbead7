//! The files in `nginx-conf/`: complete, and accepted as they stand but for the places of files.

use std::fs;
use std::path::Path;

use crate::support::Nginx;

#[test]
fn every_example_is_accepted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx-conf");
    let mut count = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let test = Nginx::builder()
            .var("api", "http://127.0.0.1:8082")
            .file("client-secret", "secret\n")
            .file("client-key.pem", include_str!("../../src/client_assertion/ed25519.pem"))
            .example(&name)
            .test();
        assert!(test.ok && !test.stderr.contains("[warn]"), "{name}: {}", test.stderr);
        count += 1;
    }
    assert!(count >= 7);
}
