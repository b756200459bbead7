#!/usr/bin/env bash
# Prints the manual page phantom_token(5) as Markdown for go-md2man, made of the README's reference.
set -euo pipefail
cd "$(dirname "$0")/.."

# The text below a heading of README, without links, and with a list in place of each table, for which
# no terminal is wide enough: the first column is what is explained, the others explain it.
section() { # HEADING
    awk -v heading="## $1" '
        $0 == heading { inside = 1; next }
        /^## / { inside = 0 }
        !inside { next }
        { gsub(/\\\|/, "\001") }
        !/^\|/ { columns = 0; print; next }
        /^\|-/ { next }
        { cells = split($0, cell, / *\| */) - 1 }
        !columns { columns = cells; for (i = 2; i <= cells; i++) title[i] = cell[i]; next }
        {
            text = ""
            for (i = 3; i <= cells; i++)
                if (cell[i] != "") text = text (text == "" ? "" : "; ") (columns > 3 && i > 3 ? title[i] ": " : "") cell[i]
            printf "\n%s\n: %s\n", cell[2], text
        }' README.md |
        sed -E -e 's/\x01/|/g' -e 's/\[([^]]*)\]\([^)]*\)/\1/g'
}

cat <<END
phantom_token 5 "" "$(packaging/version.sh)" "NGINX phantom token module"
=====

# NAME

phantom_token - opaque access tokens in, JWTs out: configuration of an NGINX module

# SYNOPSIS

    location /api/ {
        phantom_token on;
        phantom_token_introspection_endpoint https://login.example.com/introspect;
        phantom_token_client_id gateway;
        phantom_token_client_secret_file /etc/nginx/phantom-token/client-secret;
        proxy_pass http://127.0.0.1:8082;
    }

# DESCRIPTION
$(section 'What it is' | sed '/^```/,/^```/d')

# DIRECTIVES
$(section Directives)

# VARIABLES
$(section Variables)

# OUTCOMES
$(section Outcomes)

# LOG MESSAGES
$(section 'Log messages')

# SEE ALSO

**nginx**(8)
END
