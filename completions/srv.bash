# SPDX-License-Identifier: MIT
# Completion of srv for bash. Written by scripts/docs-man.
_srv() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options= words=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'slowapi serve bench play lab --help --version' -- "$current")
        return
    fi
    case ${COMP_WORDS[1]} in
    slowapi)
        options='-b --bind --backlog --tcp --certfile --keyfile --tls-ca-out --cert-reqs --ca-certs --ciphers --ssl-versions --delay --params --profile --pause --max-delay --strict-params --seed --sequences --queues --rules --from --from-status --files --upstream --upstream-ca --upstream-insecure --upstream-connect-timeout --upstream-timeout --upstream-idle-timeout --upstream-keep-alive --preserve-host --forwarded --lenient --control --journal --control-host --truth --access-logfile -w --workers --graceful-timeout --keep-alive --header-timeout --send-timeout --half-close --log-level -h --help'
        case $before in
        -b|--bind) return ;;
        --backlog) return ;;
        --tcp) return ;;
        --certfile) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --keyfile) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --tls-ca-out) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --cert-reqs) return ;;
        --ca-certs) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --ciphers) return ;;
        --ssl-versions) return ;;
        --delay) return ;;
        --params) return ;;
        --profile) return ;;
        --pause) return ;;
        --max-delay) return ;;
        --seed) return ;;
        --sequences) return ;;
        --queues) return ;;
        --rules) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --from) return ;;
        --files) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
        --upstream) return ;;
        --upstream-ca) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --upstream-connect-timeout) return ;;
        --upstream-timeout) return ;;
        --upstream-idle-timeout) return ;;
        --upstream-keep-alive) return ;;
        --control) return ;;
        --journal) return ;;
        --control-host) return ;;
        --access-logfile) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -w|--workers) return ;;
        --graceful-timeout) return ;;
        --keep-alive) return ;;
        --header-timeout) return ;;
        --send-timeout) return ;;
        --half-close) words='gone wait' ;;
        --log-level) words='error warn info debug' ;;
        esac
        ;;
    serve)
        options='-b --bind --backlog --defer-accept --certfile --keyfile --ocsp-file --cert-reqs --ca-certs --ciphers --ssl-versions --protocol --uwsgi-allow-from --forwarded-allow-ips --request-id-header --proxy-protocol --header-map -k --model -w --workers --threads --spawn --async-cores --max-queue --queue-timeout --max-threads --upstream --upstream-client --upstream-ca --upstream-insecure --upstream-cert --upstream-key --upstream-resolve --upstream-family --upstream-bind --upstream-timeout --upstream-max --db --db-mode --db-pool --db-connect-per-request --db-timeout --db-prepare --db-idle --db-lifetime --db-reset --db-result-max --header-timeout --body-timeout --body-rate --half-close --send-timeout --keep-alive --keep-alive-requests --request-timeout --limit-request-line --limit-request-fields --limit-request-field-size --limit-request-body --health-path --check-config --pid --user --group --max-requests --max-requests-jitter --graceful-timeout --graceful-delay --timeout --access-logfile --access-logformat --access-log-slow --loop-lag-warn --server-timing --control --control-host --control-queries --log-level --new --patch --reload --print-header -h --help'
        case $before in
        -b|--bind) return ;;
        --backlog) return ;;
        --defer-accept) words='auto on off' ;;
        --certfile) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --keyfile) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --ocsp-file) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --cert-reqs) return ;;
        --ca-certs) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --ciphers) return ;;
        --ssl-versions) return ;;
        --protocol) words='http uwsgi' ;;
        --uwsgi-allow-from) return ;;
        --forwarded-allow-ips) return ;;
        --request-id-header) return ;;
        --header-map) words='drop refuse' ;;
        -k|--model) words='green pool threaded single event evhttp' ;;
        -w|--workers) return ;;
        --threads) return ;;
        --spawn) words='lazy eager' ;;
        --async-cores) return ;;
        --max-queue) return ;;
        --queue-timeout) return ;;
        --max-threads) return ;;
        --upstream) return ;;
        --upstream-client) words='native curl' ;;
        --upstream-ca) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --upstream-cert) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --upstream-key) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --upstream-resolve) return ;;
        --upstream-family) words='any ipv4 ipv6' ;;
        --upstream-bind) return ;;
        --upstream-timeout) return ;;
        --upstream-max) return ;;
        --db) return ;;
        --db-mode) words='cooperative blocking patched' ;;
        --db-pool) return ;;
        --db-timeout) return ;;
        --db-prepare) words='auto off' ;;
        --db-idle) return ;;
        --db-lifetime) return ;;
        --db-reset) return ;;
        --db-result-max) return ;;
        --header-timeout) return ;;
        --body-timeout) return ;;
        --body-rate) return ;;
        --half-close) words='ask gone wait' ;;
        --send-timeout) return ;;
        --keep-alive) return ;;
        --keep-alive-requests) return ;;
        --request-timeout) return ;;
        --limit-request-line) return ;;
        --limit-request-fields) return ;;
        --limit-request-field-size) return ;;
        --limit-request-body) return ;;
        --health-path) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --pid) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --user) return ;;
        --group) return ;;
        --max-requests) return ;;
        --max-requests-jitter) return ;;
        --graceful-timeout) return ;;
        --graceful-delay) return ;;
        --timeout) return ;;
        --access-logfile) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --access-logformat) return ;;
        --access-log-slow) return ;;
        --loop-lag-warn) return ;;
        --control) return ;;
        --control-host) return ;;
        --log-level) words='error warn info debug' ;;
        --new) return ;;
        --patch) words='auto on off report' ;;
        esac
        ;;
    bench)
        options='-n --requests -c --concurrency -t --time -s --timeout -k --keep-alive --requests-per-connection -W --workers -R --ramp --warmup --drain -r --ignore-errors -l --variable-length --strict --ab-strict --rate --arrivals --stages --burst --no-catch-up --think --seed -H --header -C --cookie -A --auth -m --method -i --head -p --post -u --put --body -F --form --follow --cookies --body-stream --chunked --expect-continue --compressed -T --content-type --requests-file --requests-order --templates --replay --speed --replay-methods --http1.0 -X --proxy -P --proxy-auth --unix-socket --resolve -4 --ipv4 -6 --ipv6 -B --source -o -b --window --cacert --insecure -E --client-certificate -I --no-sni -Z --ciphers -f --tls-version --tls-resume --expect-status --expect-body --fail-if --abort-if --find-max --find-max-by --find-max-time --at-least --rounds --server-command --compare --metric --tolerance --stream --stall --stream-end --server-timing --server-metrics --server-metrics-match --server-timing-parts -q --quiet -Q --no-banner --progress --live -d --no-percentiles -S --no-confidence --percentiles -w --html -x --table-attributes -y --row-attributes -z --cell-attributes -v --verbosity -V --version --json --json-line -e --percentages --spectrum -g --gnuplot --csv --prometheus --prometheus-hold --series-csv --hlog --ticks --report --against --report-from --ndjson --start-at --shard --merge --merge-skew --merge-anyway -h --help'
        case $before in
        -n|--requests) return ;;
        -c|--concurrency) return ;;
        -t|--time) return ;;
        -s|--timeout) return ;;
        --requests-per-connection) return ;;
        -W|--workers) return ;;
        -R|--ramp) return ;;
        --warmup) return ;;
        --drain) return ;;
        --rate) return ;;
        --arrivals) words='even poisson' ;;
        --stages) return ;;
        --burst) return ;;
        --think) return ;;
        --seed) return ;;
        -H|--header) return ;;
        -C|--cookie) return ;;
        -A|--auth) return ;;
        -m|--method) return ;;
        -p|--post) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -u|--put) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --body) return ;;
        -F|--form) return ;;
        --follow) return ;;
        --cookies) words='off keep' ;;
        --body-stream) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -T|--content-type) return ;;
        --requests-file) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --requests-order) words='auto in-order weighted random' ;;
        --replay) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --speed) return ;;
        --replay-methods) return ;;
        -X|--proxy) return ;;
        -P|--proxy-auth) return ;;
        --unix-socket) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --resolve) return ;;
        -B|--source) return ;;
        -o) return ;;
        -b|--window) return ;;
        --cacert) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -E|--client-certificate) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -Z|--ciphers) return ;;
        -f|--tls-version) return ;;
        --tls-resume) words='off on' ;;
        --expect-status) return ;;
        --expect-body) return ;;
        --fail-if) return ;;
        --abort-if) return ;;
        --find-max) return ;;
        --find-max-by) words='rate connections' ;;
        --find-max-time) return ;;
        --at-least) return ;;
        --rounds) return ;;
        --server-command) return ;;
        --compare) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --metric) return ;;
        --tolerance) return ;;
        --stream) words='off sse json-lines auto' ;;
        --stall) return ;;
        --stream-end) return ;;
        --server-metrics) return ;;
        --server-metrics-match) return ;;
        --server-timing-parts) return ;;
        --percentiles) return ;;
        -x|--table-attributes) return ;;
        -y|--row-attributes) return ;;
        -z|--cell-attributes) return ;;
        -v|--verbosity) return ;;
        --json) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -e|--percentages) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --spectrum) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        -g|--gnuplot) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --csv) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --prometheus) return ;;
        --prometheus-hold) return ;;
        --series-csv) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --hlog) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --ticks) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --report) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --against) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --report-from) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --ndjson) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --start-at) return ;;
        --shard) return ;;
        --merge-skew) return ;;
        esac
        ;;
    play)
        options='--list --explain --keep -n --requests -c --concurrency --delay -k --keep-alive --with-peers --db --attach --interval --duration --control --json --html -h --help'
        case $before in
        --explain) return ;;
        -n|--requests) return ;;
        -c|--concurrency) return ;;
        --delay) return ;;
        --db) return ;;
        --attach) return ;;
        --interval) return ;;
        --duration) return ;;
        --control) return ;;
        --json) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --html) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        esac
        ;;
    lab)
        options='--allow-remote --token --idle -h --help'
        case $before in
        --token) return ;;
        --idle) return ;;
        esac
        ;;
    *) return ;;
    esac
    if [ -n "$words" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [ "${COMP_WORDS[1]}" = play ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(srv play --list --with-peers all 2>/dev/null | cut -d' ' -f1)" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o filenames -F _srv srv
