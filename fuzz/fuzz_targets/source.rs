//! Lines of `Cookie`, `Sec-WebSocket-Protocol` and other headers: what is taken out is gone, and taking out twice changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ngx_http_phantom_token_module::bearer::Credential;
use ngx_http_phantom_token_module::source::{Presented, Source, choose, credential};

fuzz_target!(|input: (&str, &[u8])| {
    let (text, line) = input;
    let _ = Source::parse(text);
    for source in ["cookie=token", "subprotocol=bearer.", "header=x-token"] {
        let source = Source::parse(source).expect("a source");
        let values: Vec<_> = source.values(line).collect();
        if let Presented::One(Credential::Token(token)) = choose(values.iter().map(|value| credential(value))) {
            assert!(!token.is_empty() && line.windows(token.len()).any(|part| part == token));
        }
        if let Some(rest) = source.strip(line) {
            assert_eq!(source.values(&rest).count(), 0, "{rest:?}");
            assert_eq!(source.strip(&rest).as_deref(), Some(rest.as_slice()));
            assert!(rest.len() <= 2 * line.len());
        }
    }
});
