//! A small complete world, as SQL. `{name}` is the id of that name, `{#name}` the same as bytes.

/// A merchant with
/// o1: paid, 2 vouchers of 5 uses (one redeemed, one matured, one undone, three refunds: done, under way, paid by hand, and one
/// withdrawn, and a booking), o2: not paid yet, o3: closed, o4: closed and paid late, o5: paid and refunded whole,
/// o6: nothing to pay, one use redeemed and one refunded, o7 and o8: one payment, which was late for o8 only.
pub const WORLD: &str = "
INSERT INTO merchants (id, tag, name, state, zone, cutoff_hour, order_ttl_s, refund_hold_s, created_at)
    VALUES ({merchant}, {#tag}, 'M', 'Approved', 'Asia/Shanghai', 0, 900, 0, 1);
INSERT INTO pay_accounts (merchant_id, id, mode, appid, mchid, key_ref, active, created_at)
    VALUES ({merchant}, {account}, 'direct', 'wx1', '190', 'k', TRUE, 1);
INSERT INTO stores (merchant_id, id, name, state, city, address, lat, lng, phone, description, hours, photos, tags, resting, zone, cutoff_hour, version, created_at, updated_at)
    VALUES ({merchant}, {store}, 'S', 'Approved', 'C', 'A', 31, 121, '', '', '{}', '[]', '[]', FALSE, 'Asia/Shanghai', 0, 1, 1, 1);
INSERT INTO staff (merchant_id, id, name, role, phone_hash, phone_cipher, phone_masked, password_hash, active, failed_attempts, version, created_at, updated_at)
    VALUES ({merchant}, {staff}, 'V', 'verifier', {#phone}, {#phone}, '*', '', TRUE, 0, 1, 1, 1);
INSERT INTO customers (id, appid, openid, nickname, active, created_at)
    VALUES ({customer}, 'wx1', 'a', 'A', TRUE, 1), ({other}, 'wx1', 'b', 'B', TRUE, 1);
INSERT INTO products (merchant_id, id, name, kind, state, cover, images, description_html, tags, recommended, all_stores, sold_count, version, created_at, updated_at)
    VALUES ({merchant}, {product}, 'P', 'redeem', 'Listed', '', '[]', '', '[]', FALSE, TRUE, 3, 1, 1, 1);
INSERT INTO redemption_rules (merchant_id, id, body, created_at) VALUES ({merchant}, 7, '{}', 1);
INSERT INTO skus (merchant_id, id, product_id, name, specs, price_fen, rule_id, uses, stock_mode, return_on_refund, per_customer_limit, active, sort, version)
    VALUES ({merchant}, {sku}, {product}, 'K', '[]', 1001, 7, 5, 'own', TRUE, 10, TRUE, 1, 1);
INSERT INTO stocks (merchant_id, id, sku_id, store_id, on_hand, reserved) VALUES ({merchant}, {stock}, {sku}, {store}, 98, 1);
INSERT INTO checkouts (id, customer_id, created_at)
    VALUES ({c1}, {customer}, 10), ({c2}, {customer}, 10), ({c3}, {customer}, 10), ({c4}, {customer}, 10), ({c5}, {customer}, 10);
INSERT INTO orders (merchant_id, id, checkout_id, customer_id, store_id, number, kind, state, close_reason, goods_fen, discount_fen, pay_fen, trail, remark, business_date, expires_at, created_at, paid_at, closed_at) VALUES
    ({merchant}, {o1}, {c1}, {customer}, {store}, '2611230000000001', 'redeem', 'Paid', NULL, 2002, 1, 2001, '{}', '', '2026-11-23', 99, 10, 20, NULL),
    ({merchant}, {o2}, {c2}, {customer}, {store}, '2611230000000002', 'redeem', 'PendingPayment', NULL, 1001, 0, 1001, '{}', '', '2026-11-23', 99, 10, NULL, NULL),
    ({merchant}, {o3}, {c3}, {customer}, {store}, '2611230000000003', 'redeem', 'Closed', 'timeout', 1001, 0, 1001, '{}', '', '2026-11-23', 99, 10, NULL, 100),
    ({merchant}, {o4}, {c4}, {customer}, {store}, '2611230000000004', 'redeem', 'Closed', 'customer', 300, 0, 300, '{}', '', '2026-11-23', 99, 10, NULL, 50),
    ({merchant}, {o5}, {c5}, {customer}, {store}, '2611230000000005', 'redeem', 'Paid', NULL, 500, 0, 500, '{}', '', '2026-11-23', 99, 10, 20, NULL);
INSERT INTO order_lines (merchant_id, id, order_id, line_no, product_id, sku_id, product_name, sku_name, quantity, uses, unit_price_fen, goods_fen, discount_fen, pay_fen, rule_id, return_on_refund, counted) VALUES
    ({merchant}, {l1}, {o1}, 1, {product}, {sku}, 'P', 'K', 2, 5, 1001, 2002, 1, 2001, 7, TRUE, TRUE),
    ({merchant}, {l2}, {o2}, 1, {product}, {sku}, 'P', 'K', 1, 5, 1001, 1001, 0, 1001, 7, TRUE, TRUE),
    ({merchant}, {l3}, {o3}, 1, {product}, {sku}, 'P', 'K', 1, 5, 1001, 1001, 0, 1001, 7, TRUE, TRUE),
    ({merchant}, {l4}, {o4}, 1, {product}, {sku}, 'P', 'K', 1, 5, 300, 300, 0, 300, 7, TRUE, TRUE),
    ({merchant}, {l5}, {o5}, 1, {product}, {sku}, 'P', 'K', 1, 1, 500, 500, 0, 500, 7, TRUE, TRUE);
INSERT INTO stock_reservations (merchant_id, line_id, order_id, stock_id, quantity, state) VALUES
    ({merchant}, {l1}, {o1}, {stock}, 2, 'Committed'), ({merchant}, {l2}, {o2}, {stock}, 1, 'Open'),
    ({merchant}, {l3}, {o3}, {stock}, 1, 'Released'), ({merchant}, {l4}, {o4}, {stock}, 1, 'Released'),
    ({merchant}, {l5}, {o5}, {stock}, 1, 'Committed');
INSERT INTO purchase_counters (merchant_id, customer_id, sku_id, quantity) VALUES ({merchant}, {customer}, {sku}, 5);
INSERT INTO order_events (merchant_id, id, order_id, event, from_state, to_state, actor, at) VALUES
    ({merchant}, {made1}, {o1}, 'create', NULL, 'PendingPayment', 'customer', 10), ({merchant}, {made2}, {o2}, 'create', NULL, 'PendingPayment', 'customer', 10),
    ({merchant}, {made3}, {o3}, 'create', NULL, 'PendingPayment', 'customer', 10), ({merchant}, {made4}, {o4}, 'create', NULL, 'PendingPayment', 'customer', 10),
    ({merchant}, {made5}, {o5}, 'create', NULL, 'PendingPayment', 'customer', 10),
    ({merchant}, {paid1}, {o1}, 'pay', 'PendingPayment', 'Paid', 'wechat', 20), ({merchant}, {paid5}, {o5}, 'pay', 'PendingPayment', 'Paid', 'wechat', 10),
    ({merchant}, {closed3}, {o3}, 'close', 'PendingPayment', 'Closed', 'system', 100), ({merchant}, {closed4}, {o4}, 'close', 'PendingPayment', 'Closed', 'customer', 50),
    ({merchant}, {later1}, {o1}, 'refund_close', 'Processing', 'Closed', 'wechat', 60);
INSERT INTO payments (merchant_id, id, checkout_id, customer_id, pay_account_id, method, state, amount_fen, openid, description, transaction_id, expires_at, paid_at, late, refund_in_flight, refund_count, created_at) VALUES
    ({merchant}, {p1}, {c1}, {customer}, {account}, 'wechat', 'Succeeded', 2001, 'a', '', 'T1', 99, 20, FALSE, {f2}, 3, 10),
    ({merchant}, {p2}, {c2}, {customer}, {account}, 'wechat', 'Pending', 1001, 'a', '', NULL, 99, NULL, FALSE, NULL, 0, 10),
    ({merchant}, {p3}, {c3}, {customer}, {account}, 'wechat', 'Closed', 1001, 'a', '', NULL, 99, NULL, FALSE, NULL, 0, 10),
    ({merchant}, {p4}, {c4}, {customer}, {account}, 'wechat', 'Succeeded', 300, 'a', '', 'T4', 99, 60, TRUE, {f4}, 1, 10),
    ({merchant}, {p5}, {c5}, {customer}, {account}, 'wechat', 'Succeeded', 500, 'a', '', 'T5', 99, 20, FALSE, NULL, 1, 10);
INSERT INTO payment_orders (merchant_id, payment_id, order_id, amount_fen) VALUES
    ({merchant}, {p1}, {o1}, 2001), ({merchant}, {p2}, {o2}, 1001), ({merchant}, {p3}, {o3}, 1001), ({merchant}, {p4}, {o4}, 300), ({merchant}, {p5}, {o5}, 500);
INSERT INTO vouchers (merchant_id, id, order_id, line_id, unit_no, customer_id, store_id, product_id, sku_id, product_name, sku_name, state, total, used, locked_refund, locked_booking, refunded, transferred, forfeited, amount_fen, rule_id, valid_from, valid_to, code_hash, pepper_id, code_cipher, code_last4, version, undo_cycles, created_at) VALUES
    ({merchant}, {v1}, {o1}, {l1}, 1, {customer}, {store}, {product}, {sku}, 'P', 'K', 'Live', 5, 1, 0, 0, 2, 0, 0, 1001, 7, 20, 900, {#code1}, 1, {#code1}, '0001', 1, 1, 20),
    ({merchant}, {v2}, {o1}, {l1}, 2, {customer}, {store}, {product}, {sku}, 'P', 'K', 'Live', 5, 1, 2, 1, 0, 0, 0, 1000, 7, 20, 900, {#code2}, 1, {#code2}, '0002', 1, 0, 20),
    ({merchant}, {v5}, {o5}, {l5}, 1, {customer}, {store}, {product}, {sku}, 'P', 'K', 'Live', 1, 0, 0, 0, 1, 0, 0, 500, 7, 20, 900, {#code5}, 1, {#code5}, '0005', 1, 0, 20);
INSERT INTO redemptions (merchant_id, id, store_id, staff_id, staff_name, method, idempotency_key, fingerprint, prepare_nonce, answer, quantity, amount_fen, occurred_at, recorded_at, undo_until, business_date)
    VALUES ({merchant}, {r1}, {store}, {staff}, 'V', 'qr', 'k1', {#print}, {#nonce}, '{}', 2, 400, 29, 29, 40, '2026-11-23');
INSERT INTO uses (merchant_id, id, voucher_id, serial, redemption_id, store_id, staff_id, state, amount_fen, redeemed_at, business_date, matures_at, reversed_at) VALUES
    ({merchant}, {u1}, {v1}, 1, {r1}, {store}, {staff}, 'Done', 200, 29, '2026-11-23', 200, NULL),
    ({merchant}, {u2}, {v1}, 2, {r1}, {store}, {staff}, 'Reversed', 200, 29, '2026-11-23', 200, 35);
INSERT INTO refunds (merchant_id, id, order_id, payment_id, customer_id, state, cause, method, reason, amount_fen, attempt, booked, to_merchant, evidence, approver_id, created_at, submitted_at, succeeded_at) VALUES
    ({merchant}, {f1}, {o1}, {p1}, {customer}, 'Succeeded', 'customer', 'wechat', '', 201, 1, TRUE, FALSE, NULL, NULL, 40, 41, 42),
    ({merchant}, {f2}, {o1}, {p1}, {customer}, 'Processing', 'customer', 'wechat', '', 400, 1, TRUE, FALSE, NULL, NULL, 40, 43, NULL),
    ({merchant}, {f3}, {o1}, {p1}, {customer}, 'ManuallyDone', 'customer', 'wechat', '', 200, 1, TRUE, FALSE, 'slip', {staff}, 40, 44, NULL),
    ({merchant}, {f4}, {o4}, {p4}, {customer}, 'Submitted', 'late_payment', 'wechat', '', 300, 1, TRUE, FALSE, NULL, NULL, 60, 61, NULL),
    ({merchant}, {f5}, {o5}, {p5}, {customer}, 'Succeeded', 'customer', 'wechat', '', 500, 1, TRUE, FALSE, NULL, NULL, 40, 41, 42),
    ({merchant}, {f6}, {o1}, {p1}, {customer}, 'Withdrawn', 'customer', 'wechat', '', 200, 1, FALSE, FALSE, NULL, NULL, 40, NULL, NULL);
INSERT INTO voucher_locks (merchant_id, id, voucher_id, kind, owner_id, serials, quantity, amount_fen, state) VALUES
    ({merchant}, {k1}, {v1}, 'refund', {f1}, '[5]', 1, 201, 'Consumed'), ({merchant}, {k2}, {v2}, 'refund', {f2}, '[4,5]', 2, 400, 'Active'),
    ({merchant}, {k3}, {v1}, 'refund', {f3}, '[4]', 1, 200, 'Consumed'), ({merchant}, {k5}, {v5}, 'refund', {f5}, '[1]', 1, 500, 'Consumed'),
    ({merchant}, {k6}, {v2}, 'refund', {f6}, '[3]', 1, 200, 'Released'), ({merchant}, {kb}, {v2}, 'booking', {booking}, '[1]', 1, 200, 'Active');
INSERT INTO booking_plans (merchant_id, id, store_id, slots, terms, active, updated_at)
    VALUES ({merchant}, {plan}, {store}, '{}', '{}', TRUE, 1);
INSERT INTO booking_slots (merchant_id, plan_id, slot_start, capacity, taken) VALUES ({merchant}, {plan}, 500, 4, 2);
INSERT INTO bookings (merchant_id, id, customer_id, voucher_id, order_id, product_id, store_id, plan_id, slot_start, slot_end, quantity, redeemed, state, cancel_reason, note, terms, reschedules, due_at, created_at, updated_at) VALUES
    ({merchant}, {booking}, {customer}, {v2}, {o1}, {product}, {store}, {plan}, 500, 560, 1, 0, 'Booked', NULL, '', '{}', 0, 530, 30, 30),
    ({merchant}, {gone}, {customer}, {v1}, {o1}, {product}, {store}, {plan}, 500, 560, 1, 0, 'Cancelled', 'customer', '', '{}', 0, NULL, 30, 31),
    ({merchant}, {missed}, {customer}, {v1}, {o1}, {product}, {store}, {plan}, 500, 560, 1, 0, 'NoShow', NULL, '', '{}', 0, NULL, 30, 31);
INSERT INTO booking_events (merchant_id, id, booking_id, event, from_state, to_state, actor, at) VALUES
    ({merchant}, {be1}, {booking}, 'book', NULL, 'Booked', 'customer', 30), ({merchant}, {be2}, {gone}, 'cancel_by_customer', 'Booked', 'Cancelled', 'customer', 31),
    ({merchant}, {be3}, {missed}, 'miss', 'Booked', 'NoShow', 'system', 31);
INSERT INTO stock_entries (merchant_id, id, stock_id, kind, delta, order_id, voucher_id, at) VALUES
    ({merchant}, {e0}, {stock}, 'initial', 100, NULL, NULL, 1), ({merchant}, {e1}, {stock}, 'commit', -2, {o1}, NULL, 20),
    ({merchant}, {e5}, {stock}, 'commit', -1, {o5}, NULL, 20), ({merchant}, {back5}, {stock}, 'return', 1, {o5}, {v5}, 42);
INSERT INTO ledger_transfers (merchant_id, id, event, debit, credit, amount_fen, source_id, order_id, store_id, business_date, at) VALUES
    ({merchant}, {t1}, 'payment', 'wechat_receivable', 'customer_liability', 2001, {p1}, {o1}, {store}, '2026-11-23', 20),
    ({merchant}, {t4}, 'late_payment', 'wechat_receivable', 'suspense', 300, {p4}, {o4}, {store}, '2026-11-23', 60),
    ({merchant}, {t5}, 'payment', 'wechat_receivable', 'customer_liability', 500, {p5}, {o5}, {store}, '2026-11-23', 20),
    ({merchant}, {tr}, 'redemption', 'customer_liability', 'merchant_pending', 400, {r1}, {o1}, {store}, '2026-11-23', 30),
    ({merchant}, {tu}, 'reversal', 'merchant_pending', 'customer_liability', 200, {undo}, {o1}, {store}, '2026-11-23', 35),
    ({merchant}, {ts1}, 'refund_submitted', 'customer_liability', 'refund_in_transit', 201, {f1}, {o1}, {store}, '2026-11-23', 41),
    ({merchant}, {ts2}, 'refund_submitted', 'customer_liability', 'refund_in_transit', 400, {f2}, {o1}, {store}, '2026-11-23', 43),
    ({merchant}, {ts3}, 'refund_submitted', 'customer_liability', 'refund_in_transit', 200, {f3}, {o1}, {store}, '2026-11-23', 44),
    ({merchant}, {ts4}, 'late_refund_submitted', 'suspense', 'refund_in_transit', 300, {f4}, {o4}, {store}, '2026-11-23', 61),
    ({merchant}, {ts5}, 'refund_submitted', 'customer_liability', 'refund_in_transit', 500, {f5}, {o5}, {store}, '2026-11-23', 41),
    ({merchant}, {td1}, 'refund_succeeded', 'refund_in_transit', 'wechat_receivable', 201, {f1}, {o1}, {store}, '2026-11-23', 42),
    ({merchant}, {td3}, 'refund_paid_manually', 'refund_in_transit', 'payable', 200, {f3}, {o1}, {store}, '2026-11-23', 45),
    ({merchant}, {td5}, 'refund_succeeded', 'refund_in_transit', 'wechat_receivable', 500, {f5}, {o5}, {store}, '2026-11-23', 42);
INSERT INTO outbox (merchant_id, topic, subject_id, payload, at) VALUES ({merchant}, 'paid', {o1}, '{}', 20);
INSERT INTO messages (merchant_id, id, customer_id, topic, title, body, order_id, source_seq, at)
    SELECT {merchant}, {message}, {customer}, 'paid', '', '', {o1}, MAX(seq), 21 FROM outbox;
INSERT INTO jobs (id, merchant_id, kind, subject_id, state, run_at, attempts, runs, lease_until, lease, asked, created_at) VALUES
    ({job1}, {merchant}, 'refund', {f2}, 'Running', 40, 1, 1, 90, 1, 1, 40), ({job2}, {merchant}, 'close', {o2}, 'Ready', 99, 0, 0, NULL, 0, 1, 10);
INSERT INTO redemptions (merchant_id, id, store_id, staff_id, staff_name, method, idempotency_key, fingerprint, prepare_nonce, answer, quantity, amount_fen, occurred_at, recorded_at, undo_until, business_date)
    VALUES ({merchant}, {r2}, {store}, {staff}, 'V', 'code', 'k2', {#print}, {#nonce2}, '{}', 1, 200, 32, 32, 42, '2026-11-23');
INSERT INTO uses (merchant_id, id, voucher_id, serial, redemption_id, store_id, staff_id, state, amount_fen, redeemed_at, business_date, matures_at)
    VALUES ({merchant}, {u3}, {v2}, 2, {r2}, {store}, {staff}, 'Matured', 200, 32, '2026-11-23', 90);
INSERT INTO ledger_transfers (merchant_id, id, event, debit, credit, amount_fen, source_id, order_id, store_id, business_date, at) VALUES
    ({merchant}, {tr2}, 'redemption', 'customer_liability', 'merchant_pending', 200, {r2}, {o1}, {store}, '2026-11-23', 32),
    ({merchant}, {tm}, 'maturity', 'merchant_pending', 'merchant_earned', 200, {r2}, {o1}, {store}, '2026-11-23', 90);
INSERT INTO checkouts (id, customer_id, created_at) VALUES ({c6}, {customer}, 10);
INSERT INTO orders (merchant_id, id, checkout_id, customer_id, store_id, number, kind, state, goods_fen, discount_fen, pay_fen, trail, remark, business_date, expires_at, created_at, paid_at)
    VALUES ({merchant}, {o6}, {c6}, {customer}, {store}, '2611230000000006', 'redeem', 'Paid', 100, 100, 0, '{}', '', '2026-11-23', 99, 10, 10);
INSERT INTO order_lines (merchant_id, id, order_id, line_no, product_id, sku_id, product_name, sku_name, quantity, uses, unit_price_fen, goods_fen, discount_fen, pay_fen, rule_id, return_on_refund, counted)
    VALUES ({merchant}, {l6}, {o6}, 1, {product}, {sku}, 'P', 'K', 1, 3, 100, 100, 100, 0, 7, FALSE, TRUE);
INSERT INTO order_events (merchant_id, id, order_id, event, from_state, to_state, actor, at) VALUES
    ({merchant}, {made6}, {o6}, 'create', NULL, 'PendingPayment', 'customer', 10), ({merchant}, {paid6}, {o6}, 'pay', 'PendingPayment', 'Paid', 'system', 10);
INSERT INTO payments (merchant_id, id, checkout_id, customer_id, method, state, amount_fen, description, expires_at, paid_at, late, refund_count, created_at)
    VALUES ({merchant}, {p6}, {c6}, {customer}, 'none', 'Succeeded', 0, '', 99, 10, FALSE, 0, 10);
INSERT INTO payment_orders (merchant_id, payment_id, order_id, amount_fen) VALUES ({merchant}, {p6}, {o6}, 0);
INSERT INTO vouchers (merchant_id, id, order_id, line_id, unit_no, customer_id, store_id, product_id, sku_id, product_name, sku_name, state, total, used, locked_refund, locked_booking, refunded, transferred, forfeited, amount_fen, rule_id, valid_from, valid_to, code_hash, pepper_id, code_cipher, code_last4, version, undo_cycles, created_at)
    VALUES ({merchant}, {v6}, {o6}, {l6}, 1, {customer}, {store}, {product}, {sku}, 'P', 'K', 'Live', 3, 1, 0, 0, 1, 0, 0, 0, 7, 10, 900, {#code6}, 1, {#code6}, '0006', 1, 0, 10);
INSERT INTO redemptions (merchant_id, id, store_id, staff_id, staff_name, method, idempotency_key, fingerprint, prepare_nonce, answer, quantity, amount_fen, occurred_at, recorded_at, undo_until, business_date)
    VALUES ({merchant}, {r6}, {store}, {staff}, 'V', 'qr', 'k6', {#print}, {#nonce6}, '{}', 1, 0, 30, 30, 40, '2026-11-23');
INSERT INTO uses (merchant_id, id, voucher_id, serial, redemption_id, store_id, staff_id, state, amount_fen, redeemed_at, business_date, matures_at)
    VALUES ({merchant}, {u6}, {v6}, 1, {r6}, {store}, {staff}, 'Done', 0, 30, '2026-11-23', 200);
INSERT INTO refunds (merchant_id, id, order_id, payment_id, customer_id, state, cause, method, reason, amount_fen, attempt, booked, to_merchant, created_at, succeeded_at)
    VALUES ({merchant}, {f7}, {o6}, {p6}, {customer}, 'Succeeded', 'customer', 'none', '', 0, 1, FALSE, FALSE, 40, 40);
INSERT INTO voucher_locks (merchant_id, id, voucher_id, kind, owner_id, serials, quantity, amount_fen, state)
    VALUES ({merchant}, {k7}, {v6}, 'refund', {f7}, '[3]', 1, 0, 'Consumed');
INSERT INTO checkouts (id, customer_id, created_at) VALUES ({c7}, {customer}, 10);
INSERT INTO orders (merchant_id, id, checkout_id, customer_id, store_id, number, kind, state, close_reason, goods_fen, discount_fen, pay_fen, trail, remark, business_date, expires_at, created_at, paid_at, closed_at) VALUES
    ({merchant}, {o7}, {c7}, {customer}, {store}, '2611230000000007', 'redeem', 'Paid', NULL, 50, 0, 50, '{}', '', '2026-11-23', 99, 10, 20, NULL),
    ({merchant}, {o8}, {c7}, {customer}, {store}, '2611230000000008', 'redeem', 'Closed', 'customer', 60, 0, 60, '{}', '', '2026-11-23', 99, 10, NULL, 15);
INSERT INTO order_lines (merchant_id, id, order_id, line_no, product_id, sku_id, product_name, sku_name, quantity, uses, unit_price_fen, goods_fen, discount_fen, pay_fen, rule_id, return_on_refund, counted) VALUES
    ({merchant}, {l7}, {o7}, 1, {product}, {sku}, 'P', 'K', 1, 1, 50, 50, 0, 50, 7, FALSE, FALSE), ({merchant}, {l8}, {o8}, 1, {product}, {sku}, 'P', 'K', 1, 1, 60, 60, 0, 60, 7, FALSE, TRUE);
INSERT INTO order_events (merchant_id, id, order_id, event, from_state, to_state, actor, at) VALUES
    ({merchant}, {made7}, {o7}, 'create', NULL, 'PendingPayment', 'customer', 10), ({merchant}, {paid7}, {o7}, 'pay', 'PendingPayment', 'Paid', 'wechat', 20),
    ({merchant}, {made8}, {o8}, 'create', NULL, 'PendingPayment', 'customer', 10), ({merchant}, {closed8}, {o8}, 'close', 'PendingPayment', 'Closed', 'customer', 15);
INSERT INTO payments (merchant_id, id, checkout_id, customer_id, pay_account_id, method, state, amount_fen, openid, description, transaction_id, expires_at, paid_at, late, refund_count, created_at)
    VALUES ({merchant}, {pm}, {c7}, {customer}, {account}, 'wechat', 'Succeeded', 110, 'a', '', 'T7', 99, 20, FALSE, 0, 10);
INSERT INTO payment_orders (merchant_id, payment_id, order_id, amount_fen) VALUES ({merchant}, {pm}, {o7}, 50), ({merchant}, {pm}, {o8}, 60);
INSERT INTO vouchers (merchant_id, id, order_id, line_id, unit_no, customer_id, store_id, product_id, sku_id, product_name, sku_name, state, total, used, locked_refund, locked_booking, refunded, transferred, forfeited, amount_fen, rule_id, valid_from, valid_to, code_hash, pepper_id, code_cipher, code_last4, version, undo_cycles, created_at)
    VALUES ({merchant}, {v7}, {o7}, {l7}, 1, {customer}, {store}, {product}, {sku}, 'P', 'K', 'Live', 1, 0, 0, 0, 0, 0, 0, 50, 7, 20, 900, {#code7}, 1, {#code7}, '0007', 1, 0, 20);
INSERT INTO refunds (merchant_id, id, order_id, payment_id, customer_id, state, cause, method, reason, amount_fen, attempt, booked, to_merchant, created_at)
    VALUES ({merchant}, {fm}, {o8}, {pm}, {customer}, 'Created', 'late_payment', 'wechat', '', 60, 1, FALSE, FALSE, 20);
INSERT INTO ledger_transfers (merchant_id, id, event, debit, credit, amount_fen, source_id, order_id, store_id, business_date, at) VALUES
    ({merchant}, {tm7}, 'payment', 'wechat_receivable', 'customer_liability', 50, {pm}, {o7}, {store}, '2026-11-23', 20),
    ({merchant}, {tm8}, 'late_payment', 'wechat_receivable', 'suspense', 60, {pm}, {o8}, {store}, '2026-11-23', 20);
INSERT INTO commission_rules (merchant_id, id, product_id, basis_points, per_use_fen, started_at, ended_at) VALUES
    ({merchant}, {rule}, NULL, 525, 3, 28, 30), ({merchant}, {rule2}, NULL, 500, 0, 1000, NULL);
INSERT INTO commission_entries (merchant_id, use_id, redemption_id, store_id, staff_id, product_id, rule_id, basis_points, per_use_fen, worth_fen, amount_fen, state, business_date, matures_at, created_at, reversed_at) VALUES
    ({merchant}, {u1}, {r1}, {store}, {staff}, {product}, {rule}, 525, 3, 200, 14, 'Pending', '2026-11-23', 200, 29, NULL),
    ({merchant}, {u2}, {r1}, {store}, {staff}, {product}, {rule}, 525, 3, 200, 14, 'Reversed', '2026-11-23', 200, 29, 35);
INSERT INTO webhooks (merchant_id, id, name, url, events, state, active_since, secret_cipher, version, created_at, updated_at) VALUES
    ({merchant}, {w1}, 'W', 'https://a.example/', '[]', 'Active', 1, {#code}, 1, 1, 1), ({merchant}, {w2}, 'W', 'https://b.example/', '[]', 'Paused', 1, {#code}, 1, 1, 1);
INSERT INTO outbox (merchant_id, topic, subject_id, payload, at) VALUES ({merchant}, 'voucher.issued', {o1}, '{}', 21);
INSERT INTO webhook_deliveries (merchant_id, id, webhook_id, event_id, event, source_seq, body, state, tries, failures, log, next_at, leased, lease, created_at, finished_at)
    SELECT {merchant}, {d1}, {w1}, {event}, 'voucher.issued', MAX(seq), '{}', 'Delivered', 1, 0, '[]', CAST(NULL AS BIGINT), FALSE, 1, 21, 22 FROM outbox;
INSERT INTO webhook_deliveries (merchant_id, id, webhook_id, event_id, event, source_seq, body, state, tries, failures, log, next_at, leased, lease, created_at)
    SELECT {merchant}, {d2}, {w2}, {event}, 'voucher.issued', MAX(seq), '{}', 'Pending', 0, 0, '[]', 22, FALSE, 0, 21 FROM outbox;
INSERT INTO checkouts (id, customer_id, created_at) VALUES ({c9}, {customer}, 10);
INSERT INTO orders (merchant_id, id, checkout_id, customer_id, store_id, number, kind, state, goods_fen, discount_fen, pay_fen, trail, remark, business_date, expires_at, created_at, paid_at)
    VALUES ({merchant}, {o9}, {c9}, {customer}, {store}, '2611230000000009', 'redeem', 'Paid', 101, 0, 101, '{}', '', '2026-11-23', 99, 10, 20);
INSERT INTO order_lines (merchant_id, id, order_id, line_no, product_id, sku_id, product_name, sku_name, quantity, uses, unit_price_fen, goods_fen, discount_fen, pay_fen, rule_id, return_on_refund, counted)
    VALUES ({merchant}, {l9}, {o9}, 1, {product}, {sku}, 'P', 'K', 1, 2, 101, 101, 0, 101, 7, FALSE, FALSE);
INSERT INTO order_events (merchant_id, id, order_id, event, from_state, to_state, actor, at) VALUES
    ({merchant}, {made9}, {o9}, 'create', NULL, 'PendingPayment', 'customer', 10), ({merchant}, {paid9}, {o9}, 'pay', 'PendingPayment', 'Paid', 'wechat', 20);
INSERT INTO payments (merchant_id, id, checkout_id, customer_id, pay_account_id, method, state, amount_fen, openid, description, transaction_id, expires_at, paid_at, late, refund_count, created_at)
    VALUES ({merchant}, {p9}, {c9}, {customer}, {account}, 'wechat', 'Succeeded', 101, 'a', '', 'T9', 99, 20, FALSE, 0, 10);
INSERT INTO payment_orders (merchant_id, payment_id, order_id, amount_fen) VALUES ({merchant}, {p9}, {o9}, 101);
INSERT INTO vouchers (merchant_id, id, order_id, line_id, unit_no, customer_id, store_id, product_id, sku_id, product_name, sku_name, state, total, used, locked_refund, locked_booking, refunded, transferred, forfeited, amount_fen, rule_id, valid_from, valid_to, code_hash, pepper_id, code_cipher, code_last4, version, undo_cycles, created_at)
    VALUES ({merchant}, {v9}, {o9}, {l9}, 1, {customer}, {store}, {product}, {sku}, 'P', 'K', 'Expired', 2, 0, 0, 0, 0, 0, 2, 101, 7, 20, 60, {#code9}, 1, {#code9}, '0009', 1, 0, 20);
INSERT INTO voucher_locks (merchant_id, id, voucher_id, kind, owner_id, serials, quantity, amount_fen, state)
    VALUES ({merchant}, {k9}, {v9}, 'expiry', {x9}, '[1,2]', 2, 101, 'Consumed');
INSERT INTO ledger_transfers (merchant_id, id, event, debit, credit, amount_fen, source_id, order_id, store_id, business_date, at) VALUES
    ({merchant}, {t9}, 'payment', 'wechat_receivable', 'customer_liability', 101, {p9}, {o9}, {store}, '2026-11-23', 20),
    ({merchant}, {te9}, 'expiry', 'customer_liability', 'breakage', 101, {x9}, {o9}, {store}, '2026-11-23', 61);
INSERT INTO consent_requests (merchant_id, id, kind, state, store_id, staff_id, session_id, phone_hash, prepare_nonce, customer_id, created_at, expires_at, decided_at) VALUES
    ({merchant}, {ask1}, 'lookup', 'Used', {store}, {staff}, {session}, {#print}, {#nonce2}, {customer}, 31, 151, 31),
    ({merchant}, {ask2}, 'lookup', 'Pending', {store}, {staff}, {session}, {#print}, NULL, NULL, 31, 151, NULL);
UPDATE redemptions SET method = 'consent' WHERE id IN ({r2}, {r6});
INSERT INTO consent_requests (merchant_id, id, kind, state, store_id, staff_id, session_id, asked_of, items, prepare_nonce, customer_id, redemption_id, created_at, expires_at, decided_at)
    VALUES ({merchant}, {ask6}, 'withdraw_refund', 'Used', {store}, {staff}, {session}, {customer}, '[]', {#nonce6}, {customer}, {r6}, 29, 149, 30);
INSERT INTO consent_refunds (merchant_id, consent_id, refund_id) VALUES ({merchant}, {ask6}, {f6});
INSERT INTO risk_flags (merchant_id, id, kind, subject, store_id, staff_id, redemption_id, detail, message, state, created_at)
    VALUES ({merchant}, {rf}, 'after_hours', 'a', {store}, {staff}, {r1}, '{}', '', 'Open', 29);
INSERT INTO risk_places (merchant_id, staff_id, store_id, at) VALUES ({merchant}, {staff}, {store}, 32);
";
