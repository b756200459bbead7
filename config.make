# The rules for what `config` has announced.

phantom_token_source=`cd "$ngx_addon_dir" && pwd`
case $NGX_OBJS in
    /*) phantom_token_objs=$NGX_OBJS ;;
    *)  phantom_token_objs=$PWD/$NGX_OBJS ;;
esac

# A binary with the module in it is not the one installed here, so build.rs need not compare.
phantom_token_check=
[ "$phantom_token_product" != "$NGX_OBJS/nginx" ] || phantom_token_check=PHANTOM_TOKEN_NGINX_VERSION_CHECK=off

# NGINX's build writes the lists that `load_module` looks for: the feature `loadable` is left out. No path of this machine gets
# into what is built.
cat << END                                                    >> $NGX_MAKEFILE

$phantom_token_product:	$phantom_token_archive

$phantom_token_archive:	$NGX_AUTO_CONFIG_H \\
	`cd "$phantom_token_source" && find "$PWD/src" "$PWD/build.rs" "$PWD/Cargo.toml" "$PWD/Cargo.lock" -type f | tr '\n' ' '`
	cd $phantom_token_source && \\
	NGINX_SOURCE_DIR=$PWD NGINX_BUILD_DIR=$phantom_token_objs $phantom_token_check \\
	RUSTFLAGS="\$\$RUSTFLAGS --remap-path-prefix=\$\${CARGO_HOME:-\$\$HOME/.cargo}=cargo \\
	--remap-path-prefix=$phantom_token_objs=objs" \\
	cargo rustc --release --locked --lib --crate-type staticlib --no-default-features --features module \\
	--target-dir $phantom_token_objs/$ngx_addon_name

END
