"""The JSON Schemas (2020-12) of what outsiders send, beside this module.

`python -m services.integration.schemas` writes them from the models; a test holds them equal.
"""

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from contracts.schema import DIALECT, decimal_pattern
from services.integration.messages import AcknowledgementMessage, DemandMessage, ProductionReport

MESSAGES: dict[str, type[BaseModel]] = {
    "mes.production-reports.v1": ProductionReport,
    "erp.demands.v1": DemandMessage,
    "erp.acknowledgements.v1": AcknowledgementMessage,
}
"""What comes on each foreign topic."""


class _TextOnly(GenerateJsonSchema):
    """Decimals are sent as text: the schema does not offer a number, which would lose digits on its way."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """A decimal is its text with its limits, whatever looks at the text before it is one."""
        inner = schema["schema"] if schema["type"] == "function-before" else schema
        return self.decimal_schema(inner) if inner["type"] == "decimal" else super().generate_inner(schema)

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Text within its digits; a bound is what the text may not look like."""
        places = schema["decimal_places"]
        made: JsonSchemaValue = {
            "type": "string",
            "pattern": decimal_pattern(schema["max_digits"] - places, places),
            "description": f"Decimal text, at most {places} places.",
        }
        if "gt" in schema:
            made["not"] = {"pattern": "^(-|[0.]+$)"}
        elif "ge" in schema:
            made["not"] = {"pattern": "^-.*[1-9]"}
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A field has its name already."""
        return False


def schema_texts() -> dict[str, str]:
    """The text of each schema by its file name."""
    texts = {}
    for topic, message in MESSAGES.items():
        made: dict[str, Any] = message.model_json_schema(schema_generator=_TextOnly)
        made = {"$schema": DIALECT, "$id": f"urn:batchwise:{topic}", **made}
        texts[f"{topic}.json"] = json.dumps(made, ensure_ascii=False, indent=2) + "\n"
    return texts
