-- What goods that had left before would have been worth more, or less: a cost of the company, no value of stock.
ALTER TABLE posting
    ADD COLUMN variance numeric,
    ADD CONSTRAINT posting_variance CHECK (variance IS NULL OR kind = 'revaluation') NOT VALID;
