"""Errors over HTTP name the field, the value and the limit, in words for people; OpenAPI says the same."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel, Field

from contracts.values import Quantity
from delivery import Person, Settings, build, requires
from deploy.local.issuer import Issuer
from tests.delivery.toy import app as toy


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"
    UNKNOWN = "unknown"


class Line(BaseModel):
    quantity: Quantity


class Order(BaseModel):
    colour: Literal[Colour.RED, Colour.GREEN] = Colour.RED
    shade: Colour = Colour.RED
    lines: tuple[Line, ...] = Field(default=(), min_length=0)
    parts: tuple[Line, ...] = Field(default=(Line(quantity=1),), min_length=1)  # type: ignore[arg-type]


router = APIRouter()


@router.post("/orders")
async def take(order: Order, person: Annotated[Person, Depends(requires("operator"))]) -> dict[str, str]:
    """Take an order."""
    return {"by": person.subject, "colour": order.colour}


@pytest.fixture
async def app(unconnected: Settings) -> FastAPI:
    service = toy.Service("toy", "Takes orders.", "tests.delivery.toy", toy.TOPICS, routers=(router,))
    return build(service, unconnected)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"colour": "red", ', "body: not JSON at character 18: Expecting property name enclosed in double quotes"),
        ("[1]", "body: a JSON object is needed, got [1]"),
        ('{"colour": "blue"}', "colour: one of red, green is needed, got 'blue'"),
        ('{"shade": "blue"}', "shade: one of red, green is needed, got 'blue'"),
        ('{"parts": [{}]}', "parts[0].quantity: is missing"),
        ('{"parts": []}', "parts: Tuple should have at least 1 item after validation, not 0, got []"),
        ('{"lines": [{"quantity": "1_0"}]}', "lines[0].quantity: not a plain decimal number, such as 12.5, got '1_0'"),
        ('{"lines": [{"quantity": "1e1"}]}', "lines[0].quantity: not a plain decimal number, such as 12.5, got '1e1'"),
        ('{"lines": [{"quantity": "١٠"}]}', "lines[0].quantity: not a plain decimal number, such as 12.5, got '١٠'"),
        ('{"lines": [{"quantity": 1.5}]}', "lines[0].quantity: 1.5 is a binary float: send decimals as text"),
        ('{"lines": [{"quantity": "-3"}]}', "lines[0].quantity: Input should be greater than 0, got '-3'"),
    ],
)
async def test_a_wrong_body_is_answered_in_words_for_people(
    app: FastAPI, tmp_path: Path, body: str, detail: str
) -> None:
    headers = {
        "Authorization": f"Bearer {Issuer(tmp_path).mint('x', ['operator'])}",
        "content-type": "application/json",
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://toy") as client:
        answer = await client.post("/orders", content=body.encode(), headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(detail)


async def test_openapi_says_who_may_call_and_that_errors_are_problems(app: FastAPI) -> None:
    document = app.openapi()
    operation = document["paths"]["/orders"]["post"]
    assert operation["description"] == "Take an order.\n\nRoles: admin, operator."
    assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in str(document)
    quantity = document["components"]["schemas"]["Line"]["properties"]["quantity"]
    assert quantity["type"] == "string", "a JSON number is not offered: a float would be refused"
