# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The demo's server answers to its own names and pages, and tells browsers to load nothing from elsewhere."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from transformers_internvl.demo.own_pages import POLICY, OwnPages
from transformers_internvl.serving.hosts import Hosts


@pytest.fixture
def client():
    app = FastAPI()
    app.get("/")(lambda: "hello")
    return TestClient(OwnPages(app, Hosts("127.0.0.1")), base_url="http://127.0.0.1:7860")


def test_its_own_page(client):
    answer = client.get("/", headers={"origin": "http://localhost:7860"})
    assert answer.json() == "hello" and answer.headers["content-security-policy"] == POLICY
    sources = [part.split() for part in POLICY.split(";")]
    assert not [source for _, *some in sources for source in some if "http" in source or "*" in source]


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}])
def test_other_names_and_pages_are_refused(client, headers):
    answer = client.get("/", headers=headers)
    assert answer.status_code == 403 and "--allowed-host" in answer.text
