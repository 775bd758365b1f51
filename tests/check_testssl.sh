#!/bin/bash
# check_testssl BUILD: testssl.sh finds nothing of medium severity or above at a real edge, with a key of either usual kind.
# Skips (exit code 77) if testssl is not installed: tests/run --all installs it. Takes some minutes.
set -u
build=$1
testssl=$(command -v testssl || command -v testssl.sh) || { echo "skipped: testssl is not installed (apt-get install testssl.sh)"; exit 77; }
run=$(mktemp -d)
edge=
trap '[ -z "$edge" ] || { kill "$edge"; wait "$edge"; }; rm -rf "$run"' EXIT
fail() { echo "$*"; exit 1; }
quietly() { "$@" >"$run/out" 2>&1 || { cat "$run/out"; fail "failed: $*"; }; }

# What testssl expects of a certificate that a public authority issues; it asks nobody for the list of revoked ones.
quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=a test's authority" \
    -keyout "$run/ca.key" -out "$run/ca.pem"
leaf() { # NAME OPTIONS FOR THE KEY...
    local name=$1
    shift
    quietly openssl req -newkey "$@" -nodes -subj /CN=localhost -keyout "$run/$name.key" -out "$run/$name.csr"
    quietly openssl x509 -req -in "$run/$name.csr" -CA "$run/ca.pem" -CAkey "$run/ca.key" -days 180 -sha256 \
        -set_serial "0x$(openssl rand -hex 16)" -out "$run/$name.pem" -extfile <(
            echo "subjectAltName=DNS:localhost,DNS:$name.localhost"
            echo "extendedKeyUsage=serverAuth"
            echo "keyUsage=digitalSignature"
            echo "basicConstraints=CA:FALSE"
            echo "crlDistributionPoints=URI:http://localhost/revoked.crl")
    cat "$run/ca.pem" >>"$run/$name.pem"
}
leaf ec ec -pkeyopt ec_paramgen_curve:P-256
leaf rsa rsa:2048

# No router: who shakes hands needs none.
read -r tls_ec tls_rsa wss ops < <(python3 -c "
import socket
s = [socket.create_server(('127.0.0.1', 0)) for _ in range(4)]
print(*(x.getsockname()[1] for x in s))")
listen() { # NAME PORT LISTENER
    cat >"$run/edge.yaml" <<END
cluster: {shards: ["r1/0=tcp://127.0.0.1:1"]}
link: {curve: false}
listen: ["$3"]
tls: {certificate: $run/$1.pem, key: $run/$1.key}
ops: {listen: "127.0.0.1:$ops"}
END
    "$build/lahar-edge" --config "$run/edge.yaml" >"$run/edge.log" 2>&1 &
    edge=$!
    for ((i = 0; i < 100; i++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && return
        kill -0 "$edge" 2>/dev/null || break
        sleep 0.1
    done
    cat "$run/edge.log"
    fail "the edge does not listen on $3"
}

bad=0
look() { # NAME PORT LISTENER OPTIONS...
    local name=$1 port=$2 listener=$3
    shift 3
    listen "$name" "$port" "$listener"
    # Its own exit code counts its own hardships too; what it found is in the file.
    "$testssl" --quiet --color 0 --warnings off --ip 127.0.0.1 --add-ca "$run/ca.pem" --nodns none \
        --jsonfile "$run/$name-$port.json" "$@" "localhost:$port" >"$run/$name-$port.txt" 2>&1
    kill -0 "$edge" 2>/dev/null || { echo "$listener: the edge has ended"; tail -n 5 "$run/edge.log"; bad=1; }
    kill "$edge"
    wait "$edge" || { echo "$listener: the edge did not leave in order"; bad=1; }
    edge=
    python3 - "$run/$name-$port.json" "$listener ($name)" <<'END' || { cat "$run/$name-$port.txt"; bad=1; }
import collections, json, sys
findings = json.load(open(sys.argv[1]))
counts = collections.Counter(f["severity"] for f in findings)
print(f"{sys.argv[2]}: {len(findings)} findings: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items())))
bad = [f for f in findings if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")]
for f in bad:
    print(f"  {f['severity']} {f['id']}: {f['finding']}")
for f in findings:
    if f["severity"] == "WARN":  # what it could not do
        print(f"  not judged: {f['id']}: {f['finding']}")
# It must have looked: protocols, ciphers, the certificate and each of the known holes.
ids = {f["id"] for f in findings}
missing = {"TLS1_2", "TLS1_3", "cipherlist_STRONG", "cert_trust", "heartbleed", "ROBOT", "secure_renego"} - ids
if missing:
    print(f"  it did not look for {sorted(missing)}")
sys.exit(1 if bad or missing else 0)
END
}
look ec "$tls_ec" "tls://127.0.0.1:$tls_ec"
look rsa "$tls_rsa" "tls://127.0.0.1:$tls_rsa"
look ec "$wss" "wss://127.0.0.1:$wss"
exit $bad
