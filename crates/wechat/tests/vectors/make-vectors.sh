#!/usr/bin/env bash
# Makes vectors.json with the openssl command line (and python3 `cryptography` for AES-GCM, which `openssl enc`
# cannot do). The keys are TEST KEYS, public, worthless: they are made only if missing, so that a second run
# gives the same signatures. Ciphertexts of OAEP are random by design and differ from run to run.
# Usage: tests/vectors/make-vectors.sh   (needs bash, openssl 3, python3 with `cryptography`)
set -euo pipefail
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

new_key() { [ -f "$1" ] || openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1" 2>/dev/null; }
new_key test-only-merchant-key.pem
new_key test-only-platform-key.pem
new_key test-only-pubkey-key.pem
new_key test-only-next-platform-key.pem
new_cert() { # key cert serial
  [ -f "$2" ] || openssl req -x509 -new -key "$1" -sha256 -days 36500 -set_serial "0x$3" \
    -subj "/C=CN/O=TEST ONLY/CN=not a WeChat certificate" -out "$2"
}
new_cert test-only-platform-key.pem platform-cert.pem 7DFD3FBB17F6B6F2FB1C4A9E50B0E10D5C0F9A21
# The highest bit of this serial is set, so DER prefixes a zero byte to it.
new_cert test-only-next-platform-key.pem next-platform-cert.pem F1C4A9E50B0E10D5C0F9A217DFD3FBB17F6B6F2F
openssl pkey -in test-only-merchant-key.pem -pubout -out merchant-public.pem
openssl pkey -in test-only-pubkey-key.pem -pubout -out pubkey-public.pem

sign() { openssl dgst -sha256 -sign "$1" "$2" | openssl base64 -A; }

body='{"appid":"wxd678efh567hg6787","mchid":"1230000109","description":"代金券 100元","out_trade_no":"HX20261123000001"}'
printf 'GET\n/v3/pay/transactions/out-trade-no/HX20261123000001?mchid=1230000109\n1763888400\n593BEC0C930BF1AFEB40B4A08C8FB242\n\n' > "$tmp/get"
printf 'POST\n/v3/pay/transactions/jsapi\n1763888400\n593BEC0C930BF1AFEB40B4A08C8FB242\n%s\n' "$body" > "$tmp/post"
answer='{"prepay_id":"wx26112221580621e9b071c00d9e093b0000"}'
printf '1763888401\nAbCdEf0123456789\n%s\n' "$answer" > "$tmp/answer"
printf '1763888401\nAbCdEf0123456789\n\n' > "$tmp/empty"
printf 'wxd678efh567hg6787\n1763888400\n593BEC0C930BF1AFEB40B4A08C8FB242\nprepay_id=wx26112221580621e9b071c00d9e093b0000\n' > "$tmp/pay"

export REQUEST_BODY="$body" ANSWER_BODY="$answer"
export GET_SIG="$(sign test-only-merchant-key.pem "$tmp/get")" POST_SIG="$(sign test-only-merchant-key.pem "$tmp/post")"
export PAY_SIG="$(sign test-only-merchant-key.pem "$tmp/pay")"
export ANSWER_CERT="$(sign test-only-platform-key.pem "$tmp/answer")" EMPTY_CERT="$(sign test-only-platform-key.pem "$tmp/empty")"
export ANSWER_PUB="$(sign test-only-pubkey-key.pem "$tmp/answer")" EMPTY_PUB="$(sign test-only-pubkey-key.pem "$tmp/empty")"

oaep_plain='6225 8801 2345 6789 张三'
export OAEP_PLAIN="$oaep_plain"
export OAEP_CIPHER="$(printf '%s' "$oaep_plain" | openssl pkeyutl -encrypt -pubin -inkey pubkey-public.pem \
  -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1 -pkeyopt rsa_mgf1_md:sha1 | openssl base64 -A)"

# Plain notification bodies, encrypted here and then signed below over the exact bytes.
python3 - "$tmp" <<'PY'
import base64, json, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
tmp = sys.argv[1]
key = b"TEST-ONLY-apiv3-key-32-bytes-000"
assert len(key) == 32
def seal(plain, nonce, aad):
    return base64.b64encode(AESGCM(key).encrypt(nonce.encode(), plain.encode(), aad.encode())).decode()
plain = "明文 plain text"
gcm = [dict(nonce="fdasflkja484", associated_data=a, plain=plain, ciphertext=seal(plain, "fdasflkja484", a))
       for a in ("", "transaction")]
payment = dict(appid="wxd678efh567hg6787", mchid="1230000109", out_trade_no="HX20261123000001",
  transaction_id="4200001234202611230123456789", trade_type="JSAPI", trade_state="SUCCESS",
  trade_state_desc="支付成功", bank_type="OTHERS", attach="m1", success_time="2025-11-23T17:00:00+08:00",
  payer=dict(openid="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
  amount=dict(total=10000, payer_total=9900, currency="CNY", payer_currency="CNY"), something_new=dict(a=[1]))
refund = dict(mchid="1230000109", transaction_id="4200001234202611230123456789", out_trade_no="HX20261123000001",
  refund_id="50200207182018070300011301001", out_refund_no="RF20261123000001", refund_status="SUCCESS",
  success_time="2025-11-23T17:00:00+08:00", user_received_account="招商银行信用卡0403",
  amount=dict(total=10000, refund=3000, payer_total=9900, payer_refund=2970))
def body(kind, event, plain, aad):
    resource = dict(original_type=kind, algorithm="AEAD_AES_256_GCM",
      ciphertext=seal(json.dumps(plain, ensure_ascii=False), "fdasflkja484", aad), nonce="fdasflkja484")
    if aad: resource["associated_data"] = aad
    return json.dumps(dict(id="EV-2018022511223320873", create_time="2025-11-23T17:00:01+08:00",
      resource_type="encrypt-resource", event_type=event, summary="支付成功", resource=resource),
      ensure_ascii=False, separators=(",", ":"))
for name, text in (("payment", body("transaction", "TRANSACTION.SUCCESS", payment, "transaction")),
                   ("refund", body("refund", "REFUND.SUCCESS", refund, ""))):
    open(f"{tmp}/{name}.body", "w").write(text)
json.dump(gcm, open(f"{tmp}/gcm.json", "w"))
PY
for name in payment refund; do
  { printf '1763888401\nAbCdEf0123456789\n'; cat "$tmp/$name.body"; printf '\n'; } > "$tmp/$name.message"
done
export PAYMENT_CERT="$(sign test-only-platform-key.pem "$tmp/payment.message")"
export PAYMENT_PUB="$(sign test-only-pubkey-key.pem "$tmp/payment.message")"
export REFUND_PUB="$(sign test-only-pubkey-key.pem "$tmp/refund.message")"

python3 - "$tmp" <<'PY' > vectors.json
import json, os, sys
tmp, env = sys.argv[1], os.environ
read = lambda name: open(f"{tmp}/{name}").read()
json.dump(dict(
  note="Made by make-vectors.sh with openssl and TEST-ONLY keys; do not edit.",
  api_v3_key="TEST-ONLY-apiv3-key-32-bytes-000",
  request=dict(timestamp=1763888400, nonce="593BEC0C930BF1AFEB40B4A08C8FB242",
    get_path="/v3/pay/transactions/out-trade-no/HX20261123000001?mchid=1230000109", get_message=read("get"), get_signature=env["GET_SIG"],
    post_path="/v3/pay/transactions/jsapi", post_body=env["REQUEST_BODY"], post_message=read("post"), post_signature=env["POST_SIG"]),
  pay_sign=dict(appid="wxd678efh567hg6787", timestamp="1763888400", nonce="593BEC0C930BF1AFEB40B4A08C8FB242",
    prepay_id="wx26112221580621e9b071c00d9e093b0000", message=read("pay"), signature=env["PAY_SIG"]),
  answer=dict(timestamp="1763888401", nonce="AbCdEf0123456789", body=env["ANSWER_BODY"], message=read("answer"), empty_message=read("empty"),
    certificate_signature=env["ANSWER_CERT"], public_key_signature=env["ANSWER_PUB"],
    empty_certificate_signature=env["EMPTY_CERT"], empty_public_key_signature=env["EMPTY_PUB"]),
  gcm=json.load(open(f"{tmp}/gcm.json")),
  oaep=dict(plain=env["OAEP_PLAIN"], ciphertext=env["OAEP_CIPHER"]),
  notification=dict(timestamp="1763888401", nonce="AbCdEf0123456789",
    payment_body=read("payment.body"), payment_certificate_signature=env["PAYMENT_CERT"], payment_public_key_signature=env["PAYMENT_PUB"],
    refund_body=read("refund.body"), refund_public_key_signature=env["REFUND_PUB"]),
), sys.stdout, ensure_ascii=False, indent=1)
print()
PY
