#!/usr/bin/env bash
# Makes the fixed vectors of this folder with the openssl command line (and python's `cryptography`
# for AES-GCM, which the openssl command line does not offer). None of the simulator's code is
# involved, so a mistake in it cannot also be in the vectors. RSA PKCS#1 v1.5 is deterministic:
# running this again with the same keys rewrites the same bytes. The keys serve tests only.
set -euo pipefail
cd "$(dirname "$0")"

key() { [ -f "$1" ] || openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1"; }
key merchant_private.pem
key platform_private.pem
key platform_second_private.pem
openssl pkey -in merchant_private.pem -pubout -out merchant_public.pem
openssl pkey -in platform_private.pem -pubout -out platform_public.pem
openssl pkey -in platform_second_private.pem -pubout -out platform_second_public.pem
if [ ! -f platform_cert.pem ]; then
  openssl req -x509 -new -key platform_private.pem -sha256 -subj "/C=CN/O=Test/CN=Test platform" \
    -set_serial 0x5A0B1C2D3E4F60718293A4B5C6D7E8F90A1B2C3D -days 7300 -out platform_cert.pem
fi

# sign KEY: standard input is the message; prints the signature in base64 on one line.
sign() { openssl dgst -sha256 -sign "$1" -binary | openssl base64 -A; }

BODY='{"appid":"wx0000000000000001","mchid":"1900000001","description":"咖啡券 ☕","out_trade_no":"VECTOR_0001","notify_url":"https://pay.example.com/notify","amount":{"total":100,"currency":"CNY"},"payer":{"openid":"oVector"}}'
TS=1730000000
NONCE='5K8264ILTKCH16CQ2502SI8ZNMTM67VS'
QUERY='/v3/pay/transactions/out-trade-no/VECTOR%7C0001?mchid=1900000001'
RESPONSE='{"prepay_id":"wx26112221580621e9b071c00d9e093b0000"}'
PACKAGE='prepay_id=wx26112221580621e9b071c00d9e093b0000'

export BODY TS NONCE QUERY RESPONSE PACKAGE
export SIG_POST SIG_GET SIG_RESPONSE SIG_RESPONSE_SECOND SIG_204 SIG_PAY SERIAL NOT_BEFORE NOT_AFTER
SIG_POST=$(printf 'POST\n/v3/pay/transactions/jsapi\n%s\n%s\n%s\n' "$TS" "$NONCE" "$BODY" | sign merchant_private.pem)
SIG_GET=$(printf 'GET\n%s\n%s\n%s\n\n' "$QUERY" "$TS" "$NONCE" | sign merchant_private.pem)
SIG_RESPONSE=$(printf '%s\n%s\n%s\n' "$TS" "$NONCE" "$RESPONSE" | sign platform_private.pem)
SIG_RESPONSE_SECOND=$(printf '%s\n%s\n%s\n' "$TS" "$NONCE" "$RESPONSE" | sign platform_second_private.pem)
SIG_204=$(printf '%s\n%s\n\n' "$TS" "$NONCE" | sign platform_private.pem)
SIG_PAY=$(printf '%s\n%s\n%s\n%s\n' wx0000000000000001 "$TS" "$NONCE" "$PACKAGE" | sign merchant_private.pem)
SERIAL=$(openssl x509 -in platform_cert.pem -noout -serial | cut -d= -f2)
date_of() { openssl x509 -in platform_cert.pem -noout "$1" -dateopt iso_8601 | cut -d= -f2 | tr ' ' T; }
NOT_BEFORE=$(date_of -startdate)
NOT_AFTER=$(date_of -enddate)

python3 - > vectors.json <<'PY'
import base64, json, os
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

e = os.environ
def gcm(aad):
    key, nonce, plain = "0123456789abcdef0123456789ABCDEF", "fdasfjihihih", '{"trade_state":"SUCCESS","说明":"已付"}'
    sealed = AESGCM(key.encode()).encrypt(nonce.encode(), plain.encode(), aad.encode())
    return {"key": key, "nonce": nonce, "associated_data": aad, "plaintext": plain,
            "ciphertext": base64.b64encode(sealed).decode()}

print(json.dumps({
    "timestamp": int(e["TS"]), "nonce": e["NONCE"],
    "post": {"url": "/v3/pay/transactions/jsapi", "body": e["BODY"], "signature": e["SIG_POST"]},
    "get": {"url": e["QUERY"], "signature": e["SIG_GET"]},
    "response": {"body": e["RESPONSE"], "signature": e["SIG_RESPONSE"],
                 "signature_second": e["SIG_RESPONSE_SECOND"], "signature_204": e["SIG_204"]},
    "pay_sign": {"app_id": "wx0000000000000001", "package": e["PACKAGE"], "signature": e["SIG_PAY"]},
    "gcm": [gcm("transaction"), gcm("")],
    "certificate": {"serial": e["SERIAL"], "not_before": e["NOT_BEFORE"],
                    "not_after": e["NOT_AFTER"]},
}, ensure_ascii=False, indent=1))
PY
