/*
 * What nginx-sys leaves out, for build.rs to read from the very headers the module is built against.
 *
 * bindgen translates a macro only if it is a plain literal. Those below contain casts, so each becomes an enumerator, which
 * clang evaluates; build.rs drops the prefix.
 */

#include <ngx_config.h>
#include <ngx_core.h>

enum PHANTOM_TOKEN_CONSTANTS {
    /* "no directive has set this" */
    PHANTOM_TOKEN_NGX_CONF_UNSET_SIZE = NGX_CONF_UNSET_SIZE,
    PHANTOM_TOKEN_NGX_CONF_UNSET_MSEC = NGX_CONF_UNSET_MSEC,
    /* pointers */
    PHANTOM_TOKEN_NGX_CONF_UNSET_PTR = (uintptr_t) NGX_CONF_UNSET_PTR,
    PHANTOM_TOKEN_NGX_CONF_ERROR = (uintptr_t) NGX_CONF_ERROR,
};
