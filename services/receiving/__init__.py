"""Receiving: expected receipts, what arrived, batch identity and numbering, inspections and quality decisions."""
