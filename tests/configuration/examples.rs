//! The files in `nginx-conf/`: complete, and accepted as they stand but for the places of files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::nginx::{module_path, nginx_binary};

#[test]
fn every_example_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = std::env::temp_dir().join(format!("phantom-token-examples-{}", std::process::id()));
    // where an NGINX built without other paths writes
    fs::create_dir_all(dir.join("logs")).unwrap();
    fs::write(dir.join("client-secret"), "secret\n").unwrap();
    let mut examples = 0;
    for entry in fs::read_dir(root.join("nginx-conf")).unwrap() {
        let path = entry.unwrap().path();
        let at = dir.display().to_string();
        let config = fs::read_to_string(&path)
            .unwrap()
            .replace("modules/ngx_http_phantom_token_module.so", &module_path().display().to_string())
            .replace("/etc/nginx/phantom-token", &at)
            .replace("/var/log/nginx", &at)
            .replace("/run/nginx.pid", &format!("{at}/nginx.pid"));
        let copy = dir.join("nginx.conf");
        fs::write(&copy, config).unwrap();
        // one of them holds a secret, and says so
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        let output = Command::new(nginx_binary()).arg("-t").arg("-c").arg(&copy).arg("-p").arg(&dir).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("[warn]"), "{}: {said}", path.display());
        examples += 1;
    }
    fs::remove_dir_all(&dir).unwrap();
    assert!(examples >= 2);
}
