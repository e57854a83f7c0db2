-- The first schema. One text for both databases: it is PostgreSQL's, and src/migrate.rs turns the types into SQLite's.
--
-- Every tenant table's primary key is (merchant_id, id), and its unique and foreign keys carry merchant_id: the tenant
-- is part of every lookup, a foreign key refuses another merchant's row, and the schema can be sharded by merchant.
-- Instants are microseconds since the epoch; amounts are fen; business dates are 'YYYY-MM-DD'.
-- A CHECK lists every state of its state machine, also those no code reaches yet: SQLite cannot alter one.

-- ── tenancy ────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE merchants (
    id UUID NOT NULL PRIMARY KEY,
    tag BYTEA NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Draft', 'Submitted', 'Approved', 'Rejected', 'Warned', 'Rectified', 'Suspended', 'Removed')),
    zone TEXT NOT NULL,
    cutoff_hour BIGINT NOT NULL CHECK (cutoff_hour BETWEEN 0 AND 23),
    order_ttl_s BIGINT NOT NULL CHECK (order_ttl_s BETWEEN 120 AND 86400),
    refund_hold_s BIGINT NOT NULL CHECK (refund_hold_s BETWEEN 0 AND 3600),
    -- What one person may backfill alone in a day; a zero: nothing.
    backfill_free_uses BIGINT NOT NULL DEFAULT 5 CHECK (backfill_free_uses >= 0),
    backfill_free_fen BIGINT NOT NULL DEFAULT 20000 CHECK (backfill_free_fen >= 0),
    -- Whether redeeming needs a registered device.
    require_device BOOLEAN NOT NULL DEFAULT FALSE,
    -- What one device may redeem offline in a day of what nobody booked; a zero: nothing.
    offline_uses BIGINT NOT NULL DEFAULT 20 CHECK (offline_uses BETWEEN 0 AND 10000),
    offline_fen BIGINT NOT NULL DEFAULT 50000 CHECK (offline_fen BETWEEN 0 AND 10000000000),
    created_at BIGINT NOT NULL
);

CREATE TABLE agreements (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('user_agreement', 'privacy_policy', 'redemption_rules', 'after_sales_policy')),
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    published_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, kind, version)
);

CREATE TABLE pay_accounts (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('direct', 'partner')),
    appid TEXT NOT NULL,
    mchid TEXT NOT NULL,
    sub_appid TEXT,
    sub_mchid TEXT,
    -- Where the secrets are, not the secrets: the name of a folder of key files.
    key_ref TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (id),
    CHECK ((mode = 'direct' AND sub_mchid IS NULL AND sub_appid IS NULL) OR (mode = 'partner' AND sub_mchid IS NOT NULL))
);

CREATE TABLE stores (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Draft', 'Submitted', 'Approved', 'Rejected', 'Warned', 'Rectified', 'Suspended', 'Removed')),
    city TEXT NOT NULL,
    address TEXT NOT NULL,
    lat DOUBLE PRECISION NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lng DOUBLE PRECISION NOT NULL CHECK (lng BETWEEN -180 AND 180),
    phone TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Weekly hours and exceptions, one JSON document: they are read and written together, on the hot path too.
    hours TEXT NOT NULL,
    photos TEXT NOT NULL,
    tags TEXT NOT NULL,
    resting BOOLEAN NOT NULL,
    zone TEXT NOT NULL,
    cutoff_hour BIGINT NOT NULL CHECK (cutoff_hour BETWEEN 0 AND 23),
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    -- Customers name a store by its id alone.
    UNIQUE (id)
);
CREATE INDEX stores_by_place ON stores (lat, lng);
CREATE INDEX stores_by_city ON stores (city, id);

CREATE TABLE staff (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('owner', 'operator', 'finance', 'store_manager', 'verifier')),
    phone_hash BYTEA NOT NULL,
    phone_cipher BYTEA NOT NULL,
    phone_masked TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    -- The most they may redeem on one business day; NULL = any.
    daily_uses_limit BIGINT CHECK (daily_uses_limit >= 0),
    daily_fen_limit BIGINT CHECK (daily_fen_limit >= 0),
    failed_attempts BIGINT NOT NULL CHECK (failed_attempts >= 0),
    locked_until BIGINT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, phone_hash)
);
CREATE INDEX staff_by_phone ON staff (phone_hash);

CREATE TABLE staff_stores (
    merchant_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    store_id UUID NOT NULL,
    PRIMARY KEY (merchant_id, staff_id, store_id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id)
);
CREATE INDEX staff_stores_by_store ON staff_stores (merchant_id, store_id);

-- ── devices ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- A verifier's phone. Its own key signs what it redeems without a network; the sessions opened on it end with it.
CREATE TABLE devices (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    staff_id UUID NOT NULL,
    name TEXT NOT NULL,
    platform TEXT NOT NULL CHECK (platform IN ('ios', 'android', 'harmony', 'desktop', 'other')),
    public_key BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Active', 'Revoked')),
    created_at BIGINT NOT NULL,
    -- When one of its sessions was last opened or continued.
    seen_at BIGINT NOT NULL,
    -- The highest number of an offline entry that it sent.
    last_seq BIGINT NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    revoked_at BIGINT,
    revoked_by UUID,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, public_key),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    CHECK ((state = 'Revoked') = (revoked_at IS NOT NULL AND revoked_by IS NOT NULL))
);
CREATE INDEX devices_by_staff ON devices (merchant_id, staff_id, created_at, id);
CREATE INDEX devices_by_time ON devices (merchant_id, created_at, id);

-- ── people and sessions (platform-wide) ────────────────────────────────────────────────────────────────────────────

CREATE TABLE customers (
    id UUID NOT NULL PRIMARY KEY,
    appid TEXT NOT NULL,
    openid TEXT NOT NULL,
    unionid TEXT,
    nickname TEXT NOT NULL,
    phone_hash BYTEA,
    phone_cipher BYTEA,
    phone_masked TEXT,
    active BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (appid, openid)
);

CREATE TABLE sessions (
    id UUID NOT NULL PRIMARY KEY,
    audience TEXT NOT NULL CHECK (audience IN ('customer', 'staff', 'platform')),
    merchant_id UUID REFERENCES merchants (id),
    staff_id UUID,
    customer_id UUID REFERENCES customers (id),
    refresh_hash BYTEA NOT NULL UNIQUE,
    previous_refresh_hash BYTEA UNIQUE,
    rotated_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    -- The registered device it was opened on.
    device_id UUID,
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, device_id) REFERENCES devices (merchant_id, id),
    CHECK (device_id IS NULL OR audience = 'staff'),
    CHECK ((audience = 'staff' AND staff_id IS NOT NULL AND merchant_id IS NOT NULL AND customer_id IS NULL)
        OR (audience = 'customer' AND customer_id IS NOT NULL AND staff_id IS NULL AND merchant_id IS NULL))
);
CREATE INDEX sessions_by_staff ON sessions (merchant_id, staff_id);
CREATE INDEX sessions_by_device ON sessions (merchant_id, device_id) WHERE device_id IS NOT NULL;
CREATE INDEX sessions_by_customer ON sessions (customer_id);
CREATE INDEX sessions_expired ON sessions (expires_at);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- ── catalogue ──────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE categories (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    name TEXT NOT NULL,
    sort BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, name)
);

CREATE TABLE products (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('redeem', 'delivery')),
    state TEXT NOT NULL CHECK (state IN ('Draft', 'Listed', 'Delisted', 'Removed')),
    category_id UUID,
    cover TEXT NOT NULL,
    images TEXT NOT NULL,
    description_html TEXT NOT NULL,
    tags TEXT NOT NULL,
    recommended BOOLEAN NOT NULL,
    all_stores BOOLEAN NOT NULL,
    sold_count BIGINT NOT NULL CHECK (sold_count >= 0),
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (id),
    FOREIGN KEY (merchant_id, category_id) REFERENCES categories (merchant_id, id)
);
CREATE INDEX products_by_state ON products (merchant_id, state, id);

CREATE TABLE product_stores (
    merchant_id UUID NOT NULL,
    product_id UUID NOT NULL,
    store_id UUID NOT NULL,
    PRIMARY KEY (merchant_id, product_id, store_id),
    FOREIGN KEY (merchant_id, product_id) REFERENCES products (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id)
);
CREATE INDEX product_stores_by_store ON product_stores (merchant_id, store_id);

-- Immutable and addressed by content: vouchers keep the rule they were bought with.
CREATE TABLE redemption_rules (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id BIGINT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id)
);

CREATE TABLE skus (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    product_id UUID NOT NULL,
    name TEXT NOT NULL,
    specs TEXT NOT NULL,
    price_fen BIGINT NOT NULL CHECK (price_fen BETWEEN 0 AND 100000000),
    list_price_fen BIGINT CHECK (list_price_fen BETWEEN 0 AND 100000000),
    rule_id BIGINT NOT NULL,
    uses BIGINT NOT NULL CHECK (uses BETWEEN 1 AND 1000),
    stock_mode TEXT NOT NULL CHECK (stock_mode IN ('own', 'shared', 'unlimited')),
    return_on_refund BOOLEAN NOT NULL,
    per_order_limit BIGINT CHECK (per_order_limit > 0),
    per_customer_limit BIGINT CHECK (per_customer_limit > 0),
    active BOOLEAN NOT NULL,
    sort BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, product_id) REFERENCES products (merchant_id, id),
    FOREIGN KEY (merchant_id, rule_id) REFERENCES redemption_rules (merchant_id, id)
);
CREATE INDEX skus_by_product ON skus (merchant_id, product_id, sort, id);

-- What a store does differently: not listed, another price.
CREATE TABLE store_listings (
    merchant_id UUID NOT NULL,
    store_id UUID NOT NULL,
    sku_id UUID NOT NULL,
    listed BOOLEAN NOT NULL,
    price_fen BIGINT CHECK (price_fen BETWEEN 0 AND 100000000),
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, store_id, sku_id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, sku_id) REFERENCES skus (merchant_id, id)
);

-- ── stock ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE stocks (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    sku_id UUID NOT NULL,
    store_id UUID,
    on_hand BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    low_at BIGINT CHECK (low_at >= 0),
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, sku_id) REFERENCES skus (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    CONSTRAINT stock_never_below_zero CHECK (reserved >= 0 AND reserved <= on_hand)
);
CREATE UNIQUE INDEX stocks_of_store ON stocks (merchant_id, sku_id, store_id) WHERE store_id IS NOT NULL;
CREATE UNIQUE INDEX stocks_shared ON stocks (merchant_id, sku_id) WHERE store_id IS NULL;

CREATE TABLE stock_entries (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    stock_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('initial', 'adjust', 'commit', 'return', 'transfer')),
    delta BIGINT NOT NULL,
    order_id UUID,
    voucher_id UUID,
    staff_id UUID,
    reason TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, stock_id) REFERENCES stocks (merchant_id, id)
);
CREATE INDEX stock_entries_by_stock ON stock_entries (merchant_id, stock_id, id);
-- A whole unused voucher returns its unit once.
CREATE UNIQUE INDEX stock_entries_return_once ON stock_entries (merchant_id, voucher_id) WHERE kind = 'return';

-- ── orders ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE checkouts (
    id UUID NOT NULL PRIMARY KEY,
    customer_id UUID NOT NULL REFERENCES customers (id),
    created_at BIGINT NOT NULL
);

CREATE TABLE orders (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    checkout_id UUID NOT NULL REFERENCES checkouts (id),
    customer_id UUID NOT NULL REFERENCES customers (id),
    store_id UUID NOT NULL,
    number TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('redeem', 'delivery')),
    state TEXT NOT NULL CHECK (state IN ('PendingPayment', 'Grouping', 'Paid', 'Refunding', 'Closed')),
    close_reason TEXT CHECK (close_reason IN ('timeout', 'customer', 'merchant', 'risk', 'group_failed')),
    goods_fen BIGINT NOT NULL CHECK (goods_fen >= 0),
    discount_fen BIGINT NOT NULL CHECK (discount_fen >= 0),
    pay_fen BIGINT NOT NULL,
    trail TEXT NOT NULL,
    remark TEXT NOT NULL,
    business_date TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    paid_at BIGINT,
    closed_at BIGINT,
    -- When its customer is reminded next that vouchers end, and up to when they were.
    remind_at BIGINT,
    reminded_until BIGINT,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, number),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    CHECK (pay_fen >= 0 AND pay_fen = goods_fen - discount_fen),
    CHECK ((state = 'Closed') = (close_reason IS NOT NULL)),
    CHECK ((state = 'Closed') = (closed_at IS NOT NULL)),
    CHECK (state = 'PendingPayment' OR state = 'Closed' OR paid_at IS NOT NULL)
);
CREATE INDEX orders_by_customer ON orders (customer_id, created_at, id);
CREATE INDEX orders_by_store ON orders (merchant_id, store_id, created_at, id);
CREATE INDEX orders_by_time ON orders (merchant_id, created_at, id);
CREATE INDEX orders_to_remind ON orders (remind_at) WHERE remind_at IS NOT NULL;
CREATE INDEX orders_unpaid ON orders (expires_at) WHERE state = 'PendingPayment';
CREATE INDEX orders_unpaid_by_customer ON orders (merchant_id, customer_id) WHERE state = 'PendingPayment';

CREATE TABLE order_lines (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    order_id UUID NOT NULL,
    line_no BIGINT NOT NULL,
    product_id UUID NOT NULL,
    sku_id UUID NOT NULL,
    product_name TEXT NOT NULL,
    sku_name TEXT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity BETWEEN 1 AND 50),
    uses BIGINT NOT NULL CHECK (uses BETWEEN 1 AND 1000),
    unit_price_fen BIGINT NOT NULL CHECK (unit_price_fen >= 0),
    goods_fen BIGINT NOT NULL,
    discount_fen BIGINT NOT NULL CHECK (discount_fen >= 0),
    pay_fen BIGINT NOT NULL CHECK (pay_fen >= 0),
    rule_id BIGINT NOT NULL,
    return_on_refund BOOLEAN NOT NULL,
    -- Its units are in the customer's purchase counter: the SKU was limited when it was ordered.
    counted BOOLEAN NOT NULL,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, order_id, line_no),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, id),
    FOREIGN KEY (merchant_id, sku_id) REFERENCES skus (merchant_id, id),
    FOREIGN KEY (merchant_id, rule_id) REFERENCES redemption_rules (merchant_id, id),
    CHECK (goods_fen = unit_price_fen * quantity AND pay_fen = goods_fen - discount_fen)
);

CREATE TABLE stock_reservations (
    merchant_id UUID NOT NULL,
    line_id UUID NOT NULL,
    order_id UUID NOT NULL,
    stock_id UUID NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    state TEXT NOT NULL CHECK (state IN ('Open', 'Committed', 'Released')),
    PRIMARY KEY (merchant_id, line_id),
    FOREIGN KEY (merchant_id, line_id) REFERENCES order_lines (merchant_id, id),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, id),
    FOREIGN KEY (merchant_id, stock_id) REFERENCES stocks (merchant_id, id)
);
CREATE INDEX stock_reservations_by_order ON stock_reservations (merchant_id, order_id);

-- How much of a limited SKU a customer has bought or ordered: a guarded row, so that two orders at once cannot both pass
-- the limit. It is the sum of the counted lines of their orders that are not closed. A refund takes nothing off it.
CREATE TABLE purchase_counters (
    merchant_id UUID NOT NULL,
    customer_id UUID NOT NULL REFERENCES customers (id),
    sku_id UUID NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (merchant_id, customer_id, sku_id),
    FOREIGN KEY (merchant_id, sku_id) REFERENCES skus (merchant_id, id)
);

CREATE TABLE order_events (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    order_id UUID NOT NULL,
    event TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    actor TEXT NOT NULL CHECK (actor IN ('customer', 'staff', 'system', 'wechat', 'platform')),
    actor_id UUID,
    store_id UUID,
    device TEXT,
    note TEXT,
    at BIGINT NOT NULL,
    -- Read by order only.
    PRIMARY KEY (merchant_id, order_id, id),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, id)
);

-- ── payments ───────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE payments (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    checkout_id UUID NOT NULL REFERENCES checkouts (id),
    customer_id UUID NOT NULL REFERENCES customers (id),
    pay_account_id UUID,
    method TEXT NOT NULL CHECK (method IN ('wechat', 'stored_value', 'none')),
    state TEXT NOT NULL CHECK (state IN ('Created', 'Pending', 'Succeeded', 'Closed', 'Failed')),
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    openid TEXT,
    description TEXT NOT NULL,
    prepay_id TEXT,
    prepay_at BIGINT,
    transaction_id TEXT,
    payer_total_fen BIGINT,
    expires_at BIGINT NOT NULL,
    paid_at BIGINT,
    late BOOLEAN NOT NULL,
    -- The refund that WeChat may be paying now (one for each payment), when the last one was sent, and how many
    -- numbers were: a refund has a new one for each attempt.
    refund_in_flight UUID,
    last_refund_at BIGINT,
    refund_count BIGINT NOT NULL CHECK (refund_count >= 0),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    -- Its TypeID is the out_trade_no: WeChat names it without the merchant.
    UNIQUE (id),
    FOREIGN KEY (merchant_id, pay_account_id) REFERENCES pay_accounts (merchant_id, id),
    CHECK ((state = 'Succeeded') = (paid_at IS NOT NULL)),
    CHECK (method <> 'wechat' OR (pay_account_id IS NOT NULL AND openid IS NOT NULL)),
    CHECK (method <> 'wechat' OR state <> 'Succeeded' OR transaction_id IS NOT NULL),
    CHECK (NOT late OR state = 'Succeeded')
);
CREATE UNIQUE INDEX payments_by_transaction ON payments (merchant_id, transaction_id) WHERE transaction_id IS NOT NULL;

CREATE INDEX payments_open ON payments (state) WHERE state IN ('Created', 'Pending');

CREATE TABLE payment_orders (
    merchant_id UUID NOT NULL,
    payment_id UUID NOT NULL,
    order_id UUID NOT NULL,
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    PRIMARY KEY (merchant_id, payment_id, order_id),
    FOREIGN KEY (merchant_id, payment_id) REFERENCES payments (merchant_id, id),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, id)
);

-- An index rather than a constraint, so that it can go when an order may have several payments.
CREATE UNIQUE INDEX payment_orders_by_order ON payment_orders (merchant_id, order_id);

CREATE TABLE payment_anomalies (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    pay_account_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('amount_mismatch', 'currency_mismatch', 'account_mismatch', 'unknown_number', 'second_transaction', 'refunded_elsewhere', 'refund_mismatch')),
    number TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    payment_id UUID,
    got TEXT NOT NULL,
    seen BIGINT NOT NULL CHECK (seen > 0),
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    resolved_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, pay_account_id, kind, number, transaction_id),
    FOREIGN KEY (merchant_id, pay_account_id) REFERENCES pay_accounts (merchant_id, id)
);

CREATE INDEX payment_anomalies_by_time ON payment_anomalies (merchant_id, first_at, id);

-- ── vouchers ───────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE vouchers (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    order_id UUID NOT NULL,
    line_id UUID NOT NULL,
    unit_no BIGINT NOT NULL CHECK (unit_no > 0),
    customer_id UUID NOT NULL REFERENCES customers (id),
    store_id UUID NOT NULL,
    product_id UUID NOT NULL,
    sku_id UUID NOT NULL,
    product_name TEXT NOT NULL,
    sku_name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PendingIssue', 'Live', 'Frozen', 'Transferring', 'Transferred', 'Expired')),
    total BIGINT NOT NULL CHECK (total BETWEEN 1 AND 1000),
    used BIGINT NOT NULL,
    locked_refund BIGINT NOT NULL,
    locked_booking BIGINT NOT NULL,
    refunded BIGINT NOT NULL,
    transferred BIGINT NOT NULL,
    forfeited BIGINT NOT NULL,
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    rule_id BIGINT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT NOT NULL,
    code_hash BYTEA NOT NULL,
    pepper_id BIGINT NOT NULL,
    code_cipher BYTEA NOT NULL,
    code_last4 TEXT NOT NULL,
    -- Of the signed ticket: a gift or a reissue makes a new one and the old ticket is stale.
    version BIGINT NOT NULL CHECK (version BETWEEN 1 AND 65535),
    undo_cycles BIGINT NOT NULL CHECK (undo_cycles >= 0),
    created_at BIGINT NOT NULL,
    -- When expiry looks at an expired voucher again: uses of it came free, or it could not be settled.
    expire_again_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, code_hash),
    UNIQUE (merchant_id, line_id, unit_no),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, id),
    FOREIGN KEY (merchant_id, line_id) REFERENCES order_lines (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, rule_id) REFERENCES redemption_rules (merchant_id, id),
    CONSTRAINT uses_add_up CHECK (used >= 0 AND locked_refund >= 0 AND locked_booking >= 0 AND refunded >= 0 AND transferred >= 0
        AND forfeited >= 0 AND used + locked_refund + locked_booking + refunded + transferred + forfeited <= total),
    CHECK (valid_from < valid_to),
    CHECK (expire_again_at IS NULL OR state = 'Expired')
);
-- Whose time is over, the vouchers of an order side by side: they become one refund.
CREATE INDEX vouchers_to_expire ON vouchers (valid_to, merchant_id, order_id) WHERE state = 'Live';
CREATE INDEX vouchers_to_expire_again ON vouchers (expire_again_at) WHERE expire_again_at IS NOT NULL;
CREATE INDEX vouchers_by_order ON vouchers (merchant_id, order_id, line_id, unit_no);
CREATE INDEX vouchers_by_last4 ON vouchers (merchant_id, code_last4);
CREATE INDEX vouchers_by_customer ON vouchers (customer_id, created_at, id);

-- Uses kept by a refund or a booking, or forfeited when their time was over (consumed from the first; the owner is
-- what an order forfeited at once). Serials are a JSON array of numbers.
CREATE TABLE voucher_locks (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    voucher_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('refund', 'booking', 'expiry')),
    owner_id UUID NOT NULL,
    serials TEXT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    state TEXT NOT NULL CHECK (state IN ('Active', 'Consumed', 'Released')),
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, kind, owner_id, voucher_id),
    FOREIGN KEY (merchant_id, voucher_id) REFERENCES vouchers (merchant_id, id)
);
CREATE INDEX voucher_locks_by_voucher ON voucher_locks (merchant_id, voucher_id);

-- A confirmed request: its key, what it asked (fingerprint), what was answered, and the prepared scan it consumed.
CREATE TABLE redemptions (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    staff_name TEXT NOT NULL,
    device TEXT,
    method TEXT NOT NULL CHECK (method IN ('qr', 'code', 'order', 'consent', 'backfill', 'offline')),
    idempotency_key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    prepare_nonce BYTEA NOT NULL,
    answer TEXT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    occurred_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    undo_until BIGINT NOT NULL,
    business_date TEXT NOT NULL,
    -- Its verifier had a daily limit, against which it counts.
    limited BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, staff_id, idempotency_key),
    UNIQUE (merchant_id, prepare_nonce),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id)
);
CREATE INDEX redemptions_by_store ON redemptions (merchant_id, store_id, recorded_at, id);
CREATE INDEX redemptions_by_time ON redemptions (merchant_id, recorded_at, id);
-- What a verifier with a limit redeemed on a day.
CREATE INDEX redemptions_limited ON redemptions (merchant_id, staff_id, business_date) WHERE limited;

CREATE TABLE uses (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    voucher_id UUID NOT NULL,
    serial BIGINT NOT NULL CHECK (serial > 0),
    redemption_id UUID NOT NULL,
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Done', 'Reversed', 'Matured', 'Settled', 'ClawedBack')),
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    redeemed_at BIGINT NOT NULL,
    business_date TEXT NOT NULL,
    matures_at BIGINT NOT NULL,
    reversed_at BIGINT,
    reversed_by UUID,
    reverse_reason TEXT,
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, voucher_id) REFERENCES vouchers (merchant_id, id),
    FOREIGN KEY (merchant_id, redemption_id) REFERENCES redemptions (merchant_id, id),
    CHECK ((state = 'Reversed') = (reversed_at IS NOT NULL))
);
-- The last line of defence: a serial of a voucher is redeemed once.
CREATE UNIQUE INDEX uses_once ON uses (merchant_id, voucher_id, serial) WHERE state <> 'Reversed';
CREATE INDEX uses_to_mature ON uses (matures_at) WHERE state = 'Done';
CREATE INDEX uses_by_voucher ON uses (merchant_id, voucher_id);
-- What somebody undid, for the risk flags: nothing is in it until then.
CREATE INDEX uses_undone ON uses (merchant_id, reversed_by, reversed_at) WHERE reversed_at IS NOT NULL;
CREATE INDEX uses_by_redemption ON uses (merchant_id, redemption_id, voucher_id, serial, id);

-- Every refused attempt, with who, where and why.
CREATE TABLE redemption_attempts (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    device TEXT,
    step TEXT NOT NULL CHECK (step IN ('prepare', 'confirm', 'reverse', 'backfill')),
    method TEXT NOT NULL CHECK (method IN ('qr', 'code', 'order', 'consent', 'backfill', 'offline')),
    voucher_id UUID,
    code_last4 TEXT,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id)
);
CREATE INDEX redemption_attempts_by_staff ON redemption_attempts (merchant_id, staff_id, at, id);
CREATE INDEX redemption_attempts_by_voucher ON redemption_attempts (merchant_id, voucher_id, at, id);
CREATE INDEX redemption_attempts_by_reason ON redemption_attempts (merchant_id, reason, at, id);
CREATE INDEX redemption_attempts_by_last4 ON redemption_attempts (merchant_id, code_last4, at, id);
CREATE INDEX redemption_attempts_by_time ON redemption_attempts (merchant_id, at, id);
CREATE INDEX redemption_attempts_by_store ON redemption_attempts (merchant_id, store_id, at, id);
CREATE INDEX redemption_attempts_by_age ON redemption_attempts (at);

-- ── backfills ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- Redemptions that were recorded after they happened, and those that wait for a second person.
CREATE TABLE backfills (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    staff_name TEXT NOT NULL,
    device TEXT,
    state TEXT NOT NULL CHECK (state IN ('Recorded', 'Pending', 'Approved', 'Rejected', 'Withdrawn')),
    -- JSON: vouchers, how many uses of each, and how to name them to a person.
    items TEXT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    occurred_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    photo_url TEXT,
    created_at BIGINT NOT NULL,
    decided_by UUID,
    decided_at BIGINT,
    decision_note TEXT,
    redemption_id UUID,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, redemption_id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, redemption_id) REFERENCES redemptions (merchant_id, id),
    CHECK ((state IN ('Recorded', 'Approved')) = (redemption_id IS NOT NULL)),
    CHECK ((state IN ('Approved', 'Rejected', 'Withdrawn')) = (decided_at IS NOT NULL AND decided_by IS NOT NULL)),
    -- A second person decides; only who asked takes it back.
    CHECK (decided_by IS NULL OR (state = 'Withdrawn') = (decided_by = staff_id)),
    CHECK (occurred_at <= created_at)
);
CREATE INDEX backfills_by_time ON backfills (merchant_id, created_at, id);
CREATE INDEX backfills_by_store ON backfills (merchant_id, store_id, created_at, id);
CREATE INDEX backfills_by_staff ON backfills (merchant_id, staff_id, created_at) WHERE state = 'Recorded';
CREATE INDEX backfills_pending ON backfills (merchant_id, store_id, created_at, id) WHERE state = 'Pending';

-- ── offline ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What a device redeemed without a network and signed, and what became of it.
CREATE TABLE offline_entries (
    merchant_id UUID NOT NULL,
    device_id UUID NOT NULL,
    seq BIGINT NOT NULL CHECK (seq > 0),
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    fingerprint BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    ticket TEXT NOT NULL,
    voucher_id UUID,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    -- By the device's clock.
    occurred_at BIGINT NOT NULL,
    leased BOOLEAN NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'accepted_forced', 'conflict', 'rejected')),
    reason TEXT,
    message TEXT,
    redemption_id UUID,
    winner TEXT,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, device_id, seq),
    UNIQUE (merchant_id, redemption_id),
    FOREIGN KEY (merchant_id, device_id) REFERENCES devices (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, voucher_id) REFERENCES vouchers (merchant_id, id),
    FOREIGN KEY (merchant_id, redemption_id) REFERENCES redemptions (merchant_id, id),
    CHECK ((verdict IN ('accepted', 'accepted_forced')) = (redemption_id IS NOT NULL)),
    CHECK ((verdict = 'accepted') = (reason IS NULL)),
    CHECK ((verdict = 'conflict') = (winner IS NOT NULL))
);
CREATE INDEX offline_entries_by_device ON offline_entries (merchant_id, device_id, recorded_at) WHERE redemption_id IS NOT NULL;

-- What a person has to look at.
CREATE TABLE exceptions (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('offline_forced', 'offline_conflict', 'offline_rejected', 'offline_gap', 'offline_altered')),
    state TEXT NOT NULL CHECK (state IN ('Open', 'Resolved')),
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    device_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    to_seq BIGINT,
    voucher_id UUID,
    redemption_id UUID,
    reason TEXT,
    message TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    outcome TEXT CHECK (outcome IN ('fine', 'settled', 'corrected', 'written_off')),
    note TEXT,
    resolved_by UUID,
    resolved_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    -- Told once, however often it is sent.
    UNIQUE (merchant_id, device_id, seq, kind),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, device_id) REFERENCES devices (merchant_id, id),
    CHECK ((state = 'Resolved') = (outcome IS NOT NULL AND note IS NOT NULL AND resolved_by IS NOT NULL AND resolved_at IS NOT NULL)),
    CHECK ((kind = 'offline_gap') = (to_seq IS NOT NULL))
);
CREATE INDEX exceptions_by_time ON exceptions (merchant_id, created_at, id);
CREATE INDEX exceptions_by_store ON exceptions (merchant_id, store_id, created_at, id);
CREATE INDEX exceptions_open ON exceptions (state, merchant_id, created_at, id) WHERE state = 'Open';

-- ── commission ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- What a redeemed use earns its verifier: one rule for all products, and one for each product that differs. Never
-- changed but for its end: a use counts by the rule that was in force when it was redeemed.
CREATE TABLE commission_rules (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    product_id UUID,
    basis_points BIGINT NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    per_use_fen BIGINT NOT NULL CHECK (per_use_fen BETWEEN 0 AND 100000),
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, product_id) REFERENCES products (merchant_id, id),
    CHECK (ended_at IS NULL OR ended_at >= started_at)
);
CREATE UNIQUE INDEX commission_rules_in_force ON commission_rules (merchant_id, product_id) WHERE ended_at IS NULL AND product_id IS NOT NULL;
CREATE UNIQUE INDEX commission_rules_for_all ON commission_rules (merchant_id) WHERE ended_at IS NULL AND product_id IS NULL;
CREATE INDEX commission_rules_by_time ON commission_rules (merchant_id, started_at, id);

-- One for each use: undoing a use takes away what it had brought. The terms are those of the rule then.
CREATE TABLE commission_entries (
    merchant_id UUID NOT NULL,
    use_id UUID NOT NULL,
    redemption_id UUID NOT NULL,
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    product_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    basis_points BIGINT NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    per_use_fen BIGINT NOT NULL CHECK (per_use_fen BETWEEN 0 AND 100000),
    worth_fen BIGINT NOT NULL CHECK (worth_fen >= 0),
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    state TEXT NOT NULL CHECK (state IN ('Pending', 'Matured', 'Reversed')),
    business_date TEXT NOT NULL,
    matures_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    reversed_at BIGINT,
    PRIMARY KEY (merchant_id, use_id),
    FOREIGN KEY (merchant_id, use_id) REFERENCES uses (merchant_id, id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, rule_id) REFERENCES commission_rules (merchant_id, id),
    CHECK ((state = 'Reversed') = (reversed_at IS NOT NULL))
);
CREATE INDEX commission_by_staff ON commission_entries (merchant_id, staff_id, business_date);
CREATE INDEX commission_by_redemption ON commission_entries (merchant_id, redemption_id);
CREATE INDEX commission_maturing ON commission_entries (matures_at) WHERE state = 'Pending';

-- ── risk ───────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What looks wrong about redemptions, for a person to look at.
CREATE TABLE risk_flags (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('self_redemption', 'undo_loop', 'after_hours', 'impossible_travel', 'lockout')),
    -- What it is about, and on which day where it is told once a day.
    subject TEXT NOT NULL,
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    device TEXT,
    customer_id UUID REFERENCES customers (id),
    voucher_id UUID,
    redemption_id UUID,
    detail TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Open', 'Acknowledged')),
    created_at BIGINT NOT NULL,
    note TEXT,
    acknowledged_by UUID,
    acknowledged_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    -- Told once, however often the news are read.
    UNIQUE (merchant_id, kind, subject),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, voucher_id) REFERENCES vouchers (merchant_id, id),
    FOREIGN KEY (merchant_id, redemption_id) REFERENCES redemptions (merchant_id, id),
    CHECK ((kind = 'lockout') = (redemption_id IS NULL)),
    CHECK ((kind = 'self_redemption') = (customer_id IS NOT NULL)),
    CHECK ((state = 'Acknowledged') = (note IS NOT NULL AND acknowledged_by IS NOT NULL AND acknowledged_at IS NOT NULL))
);
CREATE INDEX risk_flags_by_time ON risk_flags (merchant_id, created_at, id);
CREATE INDEX risk_flags_by_store ON risk_flags (merchant_id, store_id, created_at, id);
CREATE INDEX risk_flags_by_staff ON risk_flags (merchant_id, staff_id, created_at, id);
CREATE INDEX risk_flags_by_age ON risk_flags (created_at);

-- Where each verifier redeemed last. While they stay, it is written anew once a minute.
CREATE TABLE risk_places (
    merchant_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    store_id UUID NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, staff_id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id)
);

-- ── bookings ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- What of a store can be booked: for one product, or for all that have no plan of their own. The weekly windows and the
-- terms are JSON documents, like opening hours. A plan that is taken back stays, for the bookings made by it.
CREATE TABLE booking_plans (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    store_id UUID NOT NULL,
    product_id UUID,
    slots TEXT NOT NULL,
    terms TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, product_id) REFERENCES products (merchant_id, id)
);
CREATE UNIQUE INDEX booking_plans_of_product ON booking_plans (merchant_id, store_id, product_id) WHERE product_id IS NOT NULL;
CREATE UNIQUE INDEX booking_plans_of_store ON booking_plans (merchant_id, store_id) WHERE product_id IS NULL;

-- Places of a slot: a guarded row, so that the last one is taken once. It is made when a slot is first booked.
CREATE TABLE booking_slots (
    merchant_id UUID NOT NULL,
    plan_id UUID NOT NULL,
    slot_start BIGINT NOT NULL,
    capacity BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, plan_id, slot_start),
    FOREIGN KEY (merchant_id, plan_id) REFERENCES booking_plans (merchant_id, id),
    CONSTRAINT slot_never_oversold CHECK (taken >= 0 AND taken <= capacity)
);

-- Uses of a voucher at a time in a store. Which uses are locked says voucher_locks (kind 'booking', owner_id = id).
CREATE TABLE bookings (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    customer_id UUID NOT NULL REFERENCES customers (id),
    voucher_id UUID NOT NULL,
    order_id UUID NOT NULL,
    product_id UUID NOT NULL,
    store_id UUID NOT NULL,
    plan_id UUID NOT NULL,
    slot_start BIGINT NOT NULL,
    slot_end BIGINT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    redeemed BIGINT NOT NULL CHECK (redeemed >= 0),
    state TEXT NOT NULL CHECK (state IN ('Held', 'Booked', 'Arrived', 'Completed', 'Cancelled', 'NoShow', 'Rescheduled')),
    cancel_reason TEXT CHECK (cancel_reason IN ('customer', 'store', 'timeout')),
    cancel_note TEXT,
    -- What the customer wrote to the store.
    note TEXT NOT NULL,
    terms TEXT NOT NULL,
    -- How often it was moved before, and by which booking it was replaced.
    reschedules BIGINT NOT NULL CHECK (reschedules >= 0),
    rescheduled_to UUID,
    -- When the system ends it if nobody does anything.
    due_at BIGINT,
    -- When the customer is to be reminded; none when that was done, or is not wanted.
    remind_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, voucher_id) REFERENCES vouchers (merchant_id, id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, plan_id, slot_start) REFERENCES booking_slots (merchant_id, plan_id, slot_start),
    FOREIGN KEY (merchant_id, rescheduled_to) REFERENCES bookings (merchant_id, id),
    CHECK (slot_start < slot_end),
    CHECK (redeemed <= quantity),
    CHECK ((state = 'Cancelled') = (cancel_reason IS NOT NULL)),
    CHECK ((state = 'Rescheduled') = (rescheduled_to IS NOT NULL)),
    CHECK ((state IN ('Held', 'Booked', 'Arrived')) = (due_at IS NOT NULL)),
    CHECK (remind_at IS NULL OR state = 'Booked')
);
CREATE INDEX bookings_by_customer ON bookings (customer_id, created_at, id);
CREATE INDEX bookings_by_store ON bookings (merchant_id, store_id, slot_start, id);
CREATE INDEX bookings_by_voucher ON bookings (merchant_id, voucher_id, slot_start);
CREATE INDEX bookings_by_slot ON bookings (merchant_id, plan_id, slot_start);
CREATE INDEX bookings_due ON bookings (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX bookings_to_remind ON bookings (remind_at) WHERE remind_at IS NOT NULL;

CREATE TABLE booking_events (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    booking_id UUID NOT NULL,
    event TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    actor TEXT NOT NULL CHECK (actor IN ('customer', 'staff', 'system', 'platform')),
    actor_id UUID,
    -- The redemption that it took part in, or that was undone.
    redemption_id UUID,
    note TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    FOREIGN KEY (merchant_id, booking_id) REFERENCES bookings (merchant_id, id)
);
CREATE INDEX booking_events_by_booking ON booking_events (merchant_id, booking_id, id);
CREATE INDEX booking_events_by_redemption ON booking_events (merchant_id, redemption_id) WHERE redemption_id IS NOT NULL;

-- ── refunds ────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE refunds (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    order_id UUID NOT NULL,
    payment_id UUID NOT NULL,
    customer_id UUID NOT NULL REFERENCES customers (id),
    state TEXT NOT NULL CHECK (state IN ('Created', 'Submitted', 'Processing', 'Blocked', 'Closed', 'Abnormal', 'AbnormalSubmitted', 'Succeeded', 'Withdrawn', 'ManuallyDone')),
    blocked_reason TEXT CHECK (blocked_reason IN ('not_enough', 'account', 'too_old', 'quota', 'refused')),
    cause TEXT NOT NULL CHECK (cause IN ('customer', 'late_payment', 'expiry', 'group_failed', 'review')),
    method TEXT NOT NULL CHECK (method IN ('wechat', 'stored_value', 'none')),
    reason TEXT NOT NULL,
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    attempt BIGINT NOT NULL CHECK (attempt >= 1),
    wechat_refund_id TEXT,
    booked BOOLEAN NOT NULL,
    -- WeChat was told to send the money to the merchant's own account: its success is not the customer's.
    to_merchant BOOLEAN NOT NULL,
    evidence TEXT,
    approver_id UUID,
    error TEXT,
    created_at BIGINT NOT NULL,
    submitted_at BIGINT,
    succeeded_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (id),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, id),
    FOREIGN KEY (merchant_id, payment_id) REFERENCES payments (merchant_id, id),
    CHECK ((state = 'Blocked') = (blocked_reason IS NOT NULL)),
    CHECK (state <> 'Succeeded' OR succeeded_at IS NOT NULL),
    CHECK (state <> 'ManuallyDone' OR (evidence IS NOT NULL AND approver_id IS NOT NULL))
);
CREATE INDEX refunds_by_order ON refunds (merchant_id, order_id, id);
CREATE INDEX refunds_by_payment ON refunds (merchant_id, payment_id);
CREATE INDEX refunds_by_time ON refunds (merchant_id, created_at, id);
CREATE INDEX refunds_open ON refunds (state) WHERE state IN ('Created', 'Submitted', 'Processing', 'AbnormalSubmitted');
CREATE INDEX refunds_by_state ON refunds (merchant_id, state, created_at, id);

-- ── expiry ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Until when refunds of expired uses are already spread: the next one of the merchant is sent then.
CREATE TABLE refund_paces (
    merchant_id UUID NOT NULL PRIMARY KEY REFERENCES merchants (id),
    next_at BIGINT NOT NULL
);

-- ── consent ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- A verifier asks, the customer taps in their own app. Who a lookup by phone is meant for is found when a customer's app
-- asks, not when the verifier does: nothing that the verifier sees depends on whether somebody has that number.
CREATE TABLE consent_requests (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('lookup', 'withdraw_refund')),
    state TEXT NOT NULL CHECK (state IN ('Pending', 'Approved', 'Denied', 'Expired', 'Used')),
    store_id UUID NOT NULL,
    staff_id UUID NOT NULL,
    -- In whose name the uses are redeemed: the session must be alive then.
    session_id UUID NOT NULL,
    device TEXT,
    -- What a lookup was asked by: the keyed hash of four digits, or the number of an order and, where there is one, the order.
    phone_hash BYTEA,
    order_number TEXT,
    order_id UUID,
    -- Who is asked; a lookup by phone asks whoever it fits.
    asked_of UUID REFERENCES customers (id),
    -- What to redeem, as JSON, when the refunds are taken back.
    items TEXT,
    prepare_nonce BYTEA,
    -- Who answered.
    customer_id UUID REFERENCES customers (id),
    redemption_id UUID,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    decided_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    -- Customers name it by its id alone.
    UNIQUE (id),
    FOREIGN KEY (merchant_id, store_id) REFERENCES stores (merchant_id, id),
    FOREIGN KEY (merchant_id, staff_id) REFERENCES staff (merchant_id, id),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, id),
    FOREIGN KEY (merchant_id, redemption_id) REFERENCES redemptions (merchant_id, id),
    CHECK (kind <> 'lookup' OR (items IS NULL AND (phone_hash IS NULL) <> (order_number IS NULL))),
    CHECK (kind <> 'withdraw_refund' OR (items IS NOT NULL AND prepare_nonce IS NOT NULL AND asked_of IS NOT NULL AND state <> 'Approved')),
    CHECK (state <> 'Pending' OR (customer_id IS NULL AND decided_at IS NULL)),
    CHECK (state NOT IN ('Approved', 'Denied', 'Used') OR (customer_id IS NOT NULL AND decided_at IS NOT NULL)),
    CHECK (state <> 'Used' OR prepare_nonce IS NOT NULL),
    CHECK ((redemption_id IS NOT NULL) = (kind = 'withdraw_refund' AND state = 'Used'))
);
CREATE INDEX consent_requests_by_staff ON consent_requests (merchant_id, staff_id, created_at);
CREATE INDEX consent_requests_by_store ON consent_requests (merchant_id, store_id, created_at);
CREATE INDEX consent_requests_by_phone ON consent_requests (phone_hash, expires_at) WHERE state = 'Pending';
CREATE INDEX consent_requests_by_customer ON consent_requests (asked_of, expires_at) WHERE state = 'Pending';
CREATE INDEX consent_requests_old ON consent_requests (created_at) WHERE state <> 'Used';
CREATE UNIQUE INDEX consent_requests_used_once ON consent_requests (merchant_id, prepare_nonce) WHERE state = 'Used';

-- The refunds that one tap takes back.
CREATE TABLE consent_refunds (
    merchant_id UUID NOT NULL,
    consent_id UUID NOT NULL,
    refund_id UUID NOT NULL,
    PRIMARY KEY (merchant_id, consent_id, refund_id),
    FOREIGN KEY (merchant_id, consent_id) REFERENCES consent_requests (merchant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (merchant_id, refund_id) REFERENCES refunds (merchant_id, id)
);

-- ── money ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE ledger_transfers (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('payment', 'late_payment', 'redemption', 'reversal', 'maturity', 'refund_submitted', 'late_refund_submitted', 'refund_succeeded', 'refund_paid_manually', 'expiry', 'payout', 'clawback', 'refund_failed', 'settlement', 'commission')),
    debit TEXT NOT NULL CHECK (debit IN ('wechat_receivable', 'wechat_fee', 'customer_liability', 'delivery_liability', 'merchant_pending', 'merchant_earned', 'platform_commission', 'refund_in_transit', 'suspense', 'promotion_cost', 'breakage', 'payable', 'stored_value_principal', 'stored_value_bonus', 'store_clearing')),
    credit TEXT NOT NULL CHECK (credit IN ('wechat_receivable', 'wechat_fee', 'customer_liability', 'delivery_liability', 'merchant_pending', 'merchant_earned', 'platform_commission', 'refund_in_transit', 'suspense', 'promotion_cost', 'breakage', 'payable', 'stored_value_principal', 'stored_value_bonus', 'store_clearing')),
    amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
    -- The row that moved the money: a payment, redemption, reversal or refund. It does so once.
    source_id UUID NOT NULL,
    order_id UUID NOT NULL,
    store_id UUID NOT NULL,
    business_date TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    UNIQUE (merchant_id, order_id, event, source_id),
    CHECK (debit <> credit)
);
CREATE INDEX ledger_by_time ON ledger_transfers (merchant_id, at, id);

-- ── what happens after a commit ────────────────────────────────────────────────────────────────────────────────────

-- Read by consumers by position. On PostgreSQL numbers are not given in the order of commits, so a consumer stops
-- before the oldest transaction that still runs (tx); on SQLite there is one writer and tx is 0. What came with a dump
-- from another cluster is renumbered when a server starts, to negative transactions.
CREATE TABLE outbox (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tx BIGINT NOT NULL DEFAULT (CURRENT_TX),
    merchant_id UUID NOT NULL,
    topic TEXT NOT NULL,
    subject_id UUID NOT NULL,
    payload TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX outbox_by_position ON outbox (tx, seq);

CREATE TABLE consumer_positions (
    consumer TEXT NOT NULL PRIMARY KEY,
    tx BIGINT NOT NULL,
    seq BIGINT NOT NULL
);

-- What was deleted because of its age: rows of a table before this instant may be missing.
CREATE TABLE prunings (
    what TEXT NOT NULL PRIMARY KEY CHECK (what IN ('outbox')),
    before_at BIGINT NOT NULL
);

CREATE TABLE jobs (
    id UUID NOT NULL PRIMARY KEY,
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    kind TEXT NOT NULL,
    subject_id UUID NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Ready', 'Running', 'Done', 'Dead')),
    run_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    runs BIGINT NOT NULL CHECK (runs >= 0),
    lease_until BIGINT,
    lease BIGINT NOT NULL,
    -- How often it was asked for: a job that was asked for again while it ran runs once more.
    asked BIGINT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    -- When it was done, or died.
    finished_at BIGINT
);
-- A subject has one waiting or running job of a kind.
CREATE UNIQUE INDEX jobs_once ON jobs (kind, subject_id) WHERE state IN ('Ready', 'Running');
CREATE INDEX jobs_due ON jobs (run_at) WHERE state = 'Ready';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'Running';
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE state = 'Done';
CREATE INDEX jobs_dead ON jobs (finished_at) WHERE state = 'Dead';
CREATE INDEX jobs_of_merchant ON jobs (merchant_id, created_at, id) WHERE state <> 'Done';

-- A value that only the right key gives, by key: a server with other keys than the data was written with must not start.
CREATE TABLE key_checks (
    kind TEXT NOT NULL CHECK (kind IN ('pepper', 'code_key')),
    key_id BIGINT NOT NULL,
    check_value BYTEA NOT NULL,
    PRIMARY KEY (kind, key_id)
);

CREATE TABLE messages (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    customer_id UUID NOT NULL REFERENCES customers (id),
    topic TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    order_id UUID,
    source_seq BIGINT NOT NULL,
    read_at BIGINT,
    at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    -- One message for each outbox row, whatever is delivered twice.
    UNIQUE (source_seq)
);
CREATE INDEX messages_by_customer ON messages (customer_id, at, id);

-- ── webhooks ───────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE webhooks (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    -- A JSON array of the events that it is told of.
    events TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Active', 'Paused', 'Disabled', 'Deleted')),
    -- What happened before is not told.
    active_since BIGINT NOT NULL,
    secret_cipher BYTEA NOT NULL,
    -- The secret before, which signs as well until its time is over.
    old_secret_cipher BYTEA,
    old_secret_until BIGINT,
    -- Since when no try has succeeded.
    failing_since BIGINT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id),
    CHECK ((old_secret_cipher IS NULL) = (old_secret_until IS NULL))
);

CREATE TABLE webhook_deliveries (
    merchant_id UUID NOT NULL,
    id UUID NOT NULL,
    webhook_id UUID NOT NULL,
    -- The same for every webhook that is told of the event, and on every try.
    event_id UUID NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('redemption.created', 'redemption.reversed', 'voucher.issued', 'refund.succeeded', 'ping')),
    -- The outbox row it tells of; none for a ping.
    source_seq BIGINT,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Pending', 'Delivered', 'Failed', 'Dead')),
    tries BIGINT NOT NULL CHECK (tries >= 0),
    failures BIGINT NOT NULL CHECK (failures >= 0 AND failures <= tries),
    -- The last tries, as JSON.
    log TEXT NOT NULL,
    -- When it is tried next; while a worker has it, when another one may take it over.
    next_at BIGINT,
    leased BOOLEAN NOT NULL,
    lease BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (merchant_id, id),
    -- One for each webhook and outbox row, whatever is read twice.
    UNIQUE (merchant_id, webhook_id, source_seq),
    FOREIGN KEY (merchant_id, webhook_id) REFERENCES webhooks (merchant_id, id),
    CHECK ((event = 'ping') = (source_seq IS NULL)),
    CHECK ((state IN ('Pending', 'Failed')) = (next_at IS NOT NULL)),
    CHECK ((state IN ('Delivered', 'Dead')) = (finished_at IS NOT NULL)),
    CHECK (state IN ('Pending', 'Failed') OR NOT leased)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (merchant_id, webhook_id, next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (next_at) WHERE leased;
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (merchant_id, created_at, id);
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (merchant_id, webhook_id, created_at, id);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (merchant_id, state, created_at, id);

-- ── answers and traces ─────────────────────────────────────────────────────────────────────────────────────────────

-- The answer to a request that must not happen twice, written in its transaction. (A confirmed redemption keeps its own.)
CREATE TABLE idempotency_keys (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    actor_id UUID NOT NULL,
    idempotency_key TEXT NOT NULL,
    operation TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    subject_id UUID NOT NULL,
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, actor_id, operation, idempotency_key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Every change that staff make to stores, products, staff, stock and refunds.
CREATE TABLE audit_log (
    merchant_id UUID NOT NULL REFERENCES merchants (id),
    id UUID NOT NULL,
    staff_id UUID,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, id)
);
CREATE INDEX audit_log_by_age ON audit_log (at);
