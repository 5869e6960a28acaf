"""What is deployed once, for all tests of the folder: scripts/check-deploy runs them in one process."""

from __future__ import annotations

import json
import uuid

import pytest
from aws.emulators import REGION, ministack, tool

from infra.stacks import NATIVE, Stack, describe, let_queues_be_read, let_tasks_be_driven, make_user, sam, wait
from infra.templates import ROOT
from infra.test_package import version_of


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sam")


@pytest.fixture(scope="session")
def build(folder):
    """What sam built for this machine, and for the Python that ministack runs functions with."""
    version = version_of(tool("ministack").with_name("python"))
    place = folder / "build"
    sam(
        "build",
        "--build-dir",
        place,
        "--parameter-overrides",
        f"Architecture={NATIVE}",
        folder=folder,
        LAMBDA_PYTHON=version,
    )
    return place


@pytest.fixture(scope="session")
def cloud():
    with ministack(AUTH="true", schedule_sweep_seconds=1) as running:
        yield running


@pytest.fixture(scope="session")
def stack(build, cloud, folder):
    """What `sam deploy` makes with `samconfig.toml`, nothing chosen but the architecture."""
    sam(
        "deploy",
        "--template-file",
        build / "template.yaml",
        "--config-file",
        ROOT / "samconfig.toml",
        "--parameter-overrides",
        f"Architecture={NATIVE}",
        folder=folder,
        **cloud.environment,
    )
    made = describe(cloud, "sequential")
    let_queues_be_read(cloud)
    let_tasks_be_driven(cloud, made)
    return made


@pytest.fixture(scope="session")
def deploy(stack, cloud):
    """Makes or changes another stack, of the template and the package that sam has sent: sam takes 14 s each time."""
    formation = cloud.client("cloudformation", read_timeout=120)
    template = formation.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]

    def deploy(name: str, **parameters: str) -> Stack:
        names = {each["StackName"] for each in formation.describe_stacks()["Stacks"]}
        call, done = (
            (formation.update_stack, "UPDATE_COMPLETE")
            if name in names
            else (formation.create_stack, "CREATE_COMPLETE")
        )
        call(
            StackName=name,
            TemplateBody=template if isinstance(template, str) else json.dumps(template),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in {"Architecture": NATIVE, **parameters}.items()
            ],
        )
        wait(cloud, name, done)
        let_queues_be_read(cloud)
        return describe(cloud, name)

    return deploy


@pytest.fixture(scope="session")
def caller(stack):
    """Somebody who may call the API, as docs/deploy.md says it."""
    arn = f"arn:aws:execute-api:{REGION}:000000000000:{stack.outputs['ApiId']}/*"
    return make_user(stack.cloud, {"Action": "execute-api:Invoke", "Resource": arn})


@pytest.fixture
def task_id():
    return f"task-{uuid.uuid4()}"
