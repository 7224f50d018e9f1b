"""The GS1 language: what the symbols on goods say, read strictly and written back.

    >>> message = parse("]d201095212345678991728020010ABC123")
    >>> message.gtin, message.batch_no, str(message.expires(date(2026, 11, 23)))
    ('09521234567899', 'ABC123', '2028-02')

`normalise` repairs what a device does to a scan; `parse` and `verdict` read scans and Digital Links,
`parse_bracketed` what people type; `element_string`, `bracketed` and `digital_link` write. Nothing here reads a
clock: whoever asks for a date says on which day the label was scanned. Rules and AIs are those of the GS1 General
Specifications and the GS1 Digital Link standard.
"""

from contracts.gs1.batch_no import LONGEST_BATCH_NO, batch_no_problem, is_batch_no
from contracts.gs1.checks import check_digit
from contracts.gs1.dates import Gs1Date, Precision
from contracts.gs1.digital_link import digital_link
from contracts.gs1.errors import Gs1Error, Rule
from contracts.gs1.message import Element, Gs1Message
from contracts.gs1.normalise import NormalisedScan, ScannerProfile, normalise
from contracts.gs1.scan import combine, parse, verdict
from contracts.gs1.writing import bracketed, compose, element_string, parse_bracketed

__all__ = [
    "LONGEST_BATCH_NO",
    "Element",
    "Gs1Date",
    "Gs1Error",
    "Gs1Message",
    "NormalisedScan",
    "Precision",
    "Rule",
    "ScannerProfile",
    "batch_no_problem",
    "bracketed",
    "check_digit",
    "combine",
    "compose",
    "digital_link",
    "element_string",
    "is_batch_no",
    "normalise",
    "parse",
    "parse_bracketed",
    "verdict",
]
