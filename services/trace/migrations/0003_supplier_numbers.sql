-- A report may name what it consumed by the supplier's number; a trace from that batch starts there too.
CREATE INDEX link_supplier_number ON link (supplier_batch_no, consumed_item) WHERE supplier_batch_no IS NOT NULL;
