/*
 * What nginx-sys leaves out, for build.rs to read from the headers the module is built against.
 *
 * bindgen translates a macro only if it is a plain literal. Those below contain casts or names of the system's enums, so each gets
 * a constant that clang evaluates; build.rs drops the prefix. (Timers and posted events, which are static inlines, are in
 * nginx-sys already, and so are all other NGX_* numbers.)
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

/* arguments of ngx_event_actions_t's add and del */
static const ngx_int_t   PHANTOM_TOKEN_NGX_READ_EVENT = NGX_READ_EVENT;
static const ngx_int_t   PHANTOM_TOKEN_NGX_WRITE_EVENT = NGX_WRITE_EVENT;
static const ngx_uint_t  PHANTOM_TOKEN_NGX_CLEAR_EVENT = NGX_CLEAR_EVENT;

/*
 * "no directive has set this". Signed, because bindgen takes no unsigned constant above the signed maximum: to be cast like every
 * other NGX_* number. The address for the pointer, because clang does not evaluate constants of pointer type.
 */
static const ngx_int_t   PHANTOM_TOKEN_NGX_CONF_UNSET_UINT = (ngx_int_t) NGX_CONF_UNSET_UINT;
static const ngx_int_t   PHANTOM_TOKEN_NGX_CONF_UNSET_SIZE = (ngx_int_t) NGX_CONF_UNSET_SIZE;
static const ngx_int_t   PHANTOM_TOKEN_NGX_CONF_UNSET_MSEC = (ngx_int_t) NGX_CONF_UNSET_MSEC;
static const ngx_int_t   PHANTOM_TOKEN_NGX_CONF_UNSET_PTR = (ngx_int_t) NGX_CONF_UNSET_PTR;
