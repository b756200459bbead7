/*
 * Bit fields of a request. Where NGINX has "in_port_t port" before them (1.30), bindgen (0.72) puts some of them two bits from where
 * the C compiler does, so the C compiler has to read and write them.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

/* What limit_req and limit_conn have said of the request. */
ngx_uint_t
phantom_token_limits(const ngx_http_request_t *r)
{
    return (ngx_uint_t) r->limit_req_status << 8 | r->limit_conn_status;
}

/* Puts back what phantom_token_limits has returned. */
void
phantom_token_set_limits(ngx_http_request_t *r, ngx_uint_t limits)
{
    r->limit_req_status = limits >> 8;
    r->limit_conn_status = limits & 0xff;
}
