/*
 * Lets one of the module's own calls for memory of a pool fail: the n-th of a worker whose environment has FAIL_AT=n, from 0.
 * Linked into a test build of the module with --wrap for each function.
 */

#include <stddef.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static int
fails(void)
{
    static long left;
    static pid_t counted_in;

    /* The master has called for memory before it made the worker. */
    if (counted_in != getpid()) {
        const char *at = getenv("FAIL_AT");
        left = at ? atol(at) : -1;
        counted_in = getpid();
    }

    return left >= 0 && left-- == 0;
}

#define WRAP(name, arguments, values)                                         \
    void *__real_##name arguments;                                            \
    void *__wrap_##name arguments;                                            \
    void *__wrap_##name arguments                                             \
    {                                                                         \
        return fails() ? NULL : __real_##name values;                         \
    }

WRAP(ngx_palloc, (void *pool, size_t size), (pool, size))
WRAP(ngx_pnalloc, (void *pool, size_t size), (pool, size))
WRAP(ngx_pcalloc, (void *pool, size_t size), (pool, size))
WRAP(ngx_pool_cleanup_add, (void *pool, size_t size), (pool, size))
WRAP(ngx_list_push, (void *list), (list))

/* the same for what allocates behind an error code: NGX_ERROR */
long __real_ngx_http_subrequest(void *, void *, void *, void **, void *, unsigned long);
long __wrap_ngx_http_subrequest(void *, void *, void *, void **, void *, unsigned long);
long
__wrap_ngx_http_subrequest(void *r, void *uri, void *args, void **psr, void *ps, unsigned long flags)
{
    return fails() ? -1 : __real_ngx_http_subrequest(r, uri, args, psr, ps, flags);
}

long __real_ngx_http_complex_value(void *, void *, void *);
long __wrap_ngx_http_complex_value(void *, void *, void *);
long
__wrap_ngx_http_complex_value(void *r, void *value, void *text)
{
    return fails() ? -1 : __real_ngx_http_complex_value(r, value, text);
}
