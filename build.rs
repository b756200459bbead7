//! Tells the crate what NGINX it is built against; without the feature `module` there is nothing to tell.
//!
//! nginx-sys has read the configured source tree (`NGINX_BUILD_DIR`) by now and hands on what it found as `DEP_NGINX_*`. From that:
//! 1. headers of another NGINX than the installed one are refused;
//! 2. bindgen reads what nginx-sys leaves out (`src/nginx/bindings.h`) into `$OUT_DIR/bindings.rs`;
//! 3. the C compiler makes accessors of bit fields (`src/nginx/bit_fields.c`);
//! 4. the linker is told what a module that runs a thread needs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "module")]
    module::build();
}

#[cfg(feature = "module")]
mod module {
    use std::env;
    use std::error::Error;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, exit};

    /// `off`: build for an NGINX that is not the one installed here.
    const CHECK: &str = "PHANTOM_TOKEN_NGINX_VERSION_CHECK";
    /// The binary to compare with, if it is not on the usual paths.
    const BINARY: &str = "NGINX_BINARY";
    /// Debian's `nginx-dev` puts the headers of Debian's binary here.
    const DEBIAN_HEADERS: &str = "/usr/share/nginx/src/src";

    type Result<T> = std::result::Result<T, Box<dyn Error>>;

    pub fn build() {
        if let Err(error) = refuse_other_headers().and_then(|()| generate_bindings()).and_then(|()| compile_accessors())
        {
            // one line for each, because cargo prints only the first line of an error
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
            exit(1);
        }
        println!("cargo::rustc-check-cfg=cfg(nginx_http_cache)");
        if env::var("DEP_NGINX_FEATURES").is_ok_and(|features| features.split(',').any(|name| name == "http_cache")) {
            println!("cargo::rustc-cfg=nginx_http_cache");
        }
        // The worker's thread may still run when NGINX unloads modules on exit: the code stays mapped.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }

    /// The version and the signature that NGINX compares at `load_module` do not prove that the structures have the same layout:
    /// Debian patches `ngx_connection_t`, and a module built with upstream's headers loads into Debian's binary without a word.
    fn refuse_other_headers() -> Result<()> {
        for name in [CHECK, BINARY, "NGINX_SOURCE_DIR"] {
            println!("cargo::rerun-if-env-changed={name}");
        }
        if env::var(CHECK).is_ok_and(|value| value == "off") {
            return Ok(());
        }
        let Some(binary) = installed_nginx() else {
            println!(
                "cargo::warning=no nginx is installed here: not checked that the headers are those of the NGINX that will load the module"
            );
            return Ok(());
        };
        println!("cargo::rerun-if-changed={}", binary.display());

        // "nginx version: nginx/1.22.1 (Ubuntu)", on standard error
        let output = Command::new(&binary)
            .arg("-v")
            .output()
            .map_err(|error| format!("cannot run {} -v: {error}", binary.display()))?;
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        let installed =
            output.split_once("version: ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default();
        let headers = dependency("VERSION")?;
        let build_dir = dependency("BUILD_DIR")?;
        let advice =
            format!("unset NGINX_BUILD_DIR and run scripts/build.sh, or set {CHECK}=off to build for another machine");
        if installed != headers {
            return Err(format!(
                "the headers in {build_dir} are of {headers}, but {} is {installed}: NGINX would not load the module\n{advice}",
                binary.display()
            )
            .into());
        }
        if let Some(package) = debian_package(&binary) {
            if !Path::new(DEBIAN_HEADERS).is_dir() {
                return Err(format!(
                    "{} comes from Debian's package {package}, which has patches of its own, but its headers are not installed\n\
                     apt-get install nginx-dev, then {advice}",
                    binary.display()
                )
                .into());
            }
            // as nginx-sys finds it
            let parent = || Path::new(&build_dir).parent().unwrap_or(Path::new("/")).to_owned();
            let source = env::var_os("NGINX_SOURCE_DIR").map_or_else(parent, PathBuf::from).join("src");
            if let Some(header) = first_difference(Path::new(DEBIAN_HEADERS), &source)? {
                return Err(format!(
                    "{} comes from Debian's package {package}, but {build_dir} is not configured from its headers ({DEBIAN_HEADERS}): \
                     {header} differs, so the structures may have another layout\n{advice}",
                    binary.display()
                )
                .into());
            }
        }
        Ok(())
    }

    /// The `nginx` of this machine: `/usr/sbin` is not on the path of every user.
    fn installed_nginx() -> Option<PathBuf> {
        if let Some(binary) = env::var_os(BINARY) {
            return Some(binary.into());
        }
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
            .map(|directory| directory.join("nginx"))
            .find(|file| file.is_file())
    }

    /// The package `binary` belongs to, if Debian (or a distribution derived from it) made it: nginx.org's has upstream's layouts.
    fn debian_package(binary: &Path) -> Option<String> {
        let binary = fs::canonicalize(binary).ok()?;
        // "nginx: /usr/sbin/nginx", or "nginx-core, nginx-full: …"
        let owner =
            Command::new("dpkg-query").arg("-S").arg(&binary).output().ok().filter(|output| output.status.success())?;
        let owner = String::from_utf8(owner.stdout).ok()?;
        let package = owner.split([':', ',']).next()?.trim();
        let maintainer = Command::new("dpkg-query").args(["-W", "-f", "${Maintainer}", package]).output().ok()?;
        let upstream = String::from_utf8_lossy(&maintainer.stdout).contains("nginx.com");
        (!upstream).then(|| package.to_owned())
    }

    /// The first header below `reference` that `other` has not got, or with other content.
    fn first_difference(reference: &Path, other: &Path) -> Result<Option<String>> {
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(reference.join(&directory))? {
                let entry = entry?;
                let name = directory.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    directories.push(name);
                } else if name.extension().is_some_and(|extension| extension == "h")
                    && fs::read(entry.path())? != fs::read(other.join(&name)).unwrap_or_default()
                {
                    return Ok(Some(name.display().to_string()));
                }
            }
        }
        Ok(None)
    }

    fn generate_bindings() -> Result<()> {
        const HEADER: &str = "src/nginx/bindings.h";
        println!("cargo::rerun-if-changed={HEADER}");
        bindgen::Builder::default()
            .header(HEADER)
            .clang_args(compiler_flags()?)
            .rust_target(env::var("CARGO_PKG_RUST_VERSION")?.parse()?)
            .use_core()
            .allowlist_item(format!("{PREFIX}.*"))
            .translate_enum_integer_types(true)
            .prepend_enum_name(false)
            .parse_callbacks(Box::new(NamesOfNginx))
            .generate()?
            .write_to_file(Path::new(&env::var("OUT_DIR")?).join("bindings.rs"))?;
        Ok(())
    }

    fn compile_accessors() -> Result<()> {
        const SOURCE: &str = "src/nginx/bit_fields.c";
        println!("cargo::rerun-if-changed={SOURCE}");
        let mut build = cc::Build::new();
        for flag in compiler_flags()? {
            build.flag(flag);
        }
        build.file(SOURCE).warnings_into_errors(true).try_compile("phantom_token_bit_fields")?;
        Ok(())
    }

    /// With which a compiler finds NGINX's headers and reads them as NGINX was compiled.
    fn compiler_flags() -> Result<Vec<String>> {
        let include = dependency("INCLUDE")?;
        let include = env::split_paths(&include).map(|directory| format!("-I{}", directory.display()));
        // nginx-sys 0.5.0 writes `cargo:metadata=cflags=…` with one colon, which cargo takes for a key `metadata`
        let flags = dependency("CFLAGS").or_else(|_| dependency("METADATA"))?;
        let flags =
            shlex::split(flags.trim_start_matches("cflags=")).ok_or("cannot split the compiler flags of nginx-sys")?;
        Ok(include.chain(flags).collect())
    }

    const PREFIX: &str = "PHANTOM_TOKEN_";

    /// Gives the constants of the header the names of the macros they stand for.
    #[derive(Debug)]
    struct NamesOfNginx;

    impl bindgen::callbacks::ParseCallbacks for NamesOfNginx {
        fn enum_variant_name(
            &self,
            _enum: Option<&str>,
            name: &str,
            _value: bindgen::callbacks::EnumVariantValue,
        ) -> Option<String> {
            name.strip_prefix(PREFIX).map(str::to_owned)
        }
    }

    /// What nginx-sys found out. It tells only those that depend on it directly.
    fn dependency(key: &str) -> Result<String> {
        let name = format!("DEP_NGINX_{key}");
        println!("cargo::rerun-if-env-changed={name}");
        env::var(&name).map_err(|error| format!("{name}: {error} (nginx-sys must be a direct dependency)").into())
    }
}
