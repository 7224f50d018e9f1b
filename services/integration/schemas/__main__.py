"""Write the schemas of what outsiders send."""

from pathlib import Path

from services.integration.schemas import schema_texts

if __name__ == "__main__":
    for name, text in schema_texts().items():
        Path(__file__).with_name(name).write_text(text, "utf-8")
