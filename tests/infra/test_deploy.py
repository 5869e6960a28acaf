"""What stands there when the service is deployed, who may do what with it, and what docs/deploy.md says to do."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
import time
import zipfile
from typing import Any

import pytest
from aws.emulators import REGION, tool
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from infra.stacks import NATIVE, FunctionError, make_user, sam, wait
from infra.templates import ROOT, ROOT_TEMPLATE, load, properties, resources
from infra.test_package import foreign_python
from sequential_core import errors
from sequential_core.http.operations import OPERATIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ANSWERS = runpy.run_path(str(ROOT / "examples" / "reference.py"))["ANSWERS"]
API = "https://api.example.com"
REFERENCE = f'const user = await fetch("{API}/user/1"); const posts = await fetch("{API}/posts"); [user, posts]'

# Its state does not fit an item of the table: random numbers cannot be compressed.
LARGE = (
    "const kept = []; for (let i = 0; i < 80000; i++) kept.push(Math.random());"
    f'const factor = await fetch("{API}/factor"); kept.length * factor'
)


def test_the_templates_have_no_fault(tmp_path):
    templates = [ROOT_TEMPLATE, *sorted((ROOT / "infra").glob("*.yaml"))]
    done = subprocess.run([tool("cfn-lint"), *templates], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "is a valid SAM Template" in sam("validate", "--lint", folder=tmp_path)


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_sam_build_makes_a_package_of_each_function_for_the_architecture_that_was_chosen(architecture, tmp_path):
    if architecture != NATIVE:
        foreign_python()
    # arm64 is the default of the template.
    options = () if architecture == "arm64" else ("--parameter-overrides", "Architecture=x86_64")
    printed = sam("build", "--build-dir", tmp_path / "build", *options, folder=tmp_path)
    assert "MB unzipped, of 100 allowed" in printed
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[architecture]
    for function in resources(ROOT_TEMPLATE, "AWS::Serverless::Function"):
        package = tmp_path / "build" / function
        assert list(package.glob(f"sequential_core/vm/guests/*-{machine}-unknown-linux-gnu-*.cwasm"))
        assert (package / "wasmtime" / f"linux-{machine}" / "_libwasmtime.so").is_file()
        assert list(package.glob(f"msgspec/*.cpython-313-{machine}-linux-gnu.so"))
        assert (package / "handlers" / "api.py").is_file()


def answer_of(task: dict[str, Any]) -> Any:
    return ANSWERS[task["fetchRequest"]["url"].removeprefix(API)]


# --- What the functions do ---


def test_the_reference_program_runs_through_the_functions(stack, task_id):
    task = stack.invoke("Execute", {"code": REFERENCE, "id": task_id})
    hops = 0
    while task["status"] == "paused":
        assert stack.invoke("Task", {"action": "get", "id": task_id})["revision"] == task["revision"]
        task = stack.invoke("Resume", {"id": task_id, "fetchResponse": answer_of(task), "revision": task["revision"]})
        hops += 1
    assert (task["status"], hops) == ("completed", 2)
    assert task["result"] == list(ANSWERS.values())
    with pytest.raises(FunctionError, match="there is no task"):
        stack.invoke("Task", {"action": "get", "id": task_id})


def test_the_reference_program_runs_through_the_http_api(stack, caller, task_id):
    made = stack.request("POST", "/tasks", {"code": REFERENCE, "id": task_id}, caller=caller)
    assert (made.status_code, made.headers["location"]) == (201, f"tasks/{task_id}")
    task = made.json()
    while task["status"] == "paused":
        seen = stack.request("GET", f"/tasks/{task_id}", caller=caller)
        assert (seen.status_code, seen.headers["etag"]) == (200, f'"{task["revision"]}"')
        answer = stack.request(
            "POST",
            f"/tasks/{task_id}/resume",
            {"fetchResponse": answer_of(task)},
            caller=caller,
            headers={"if-match": seen.headers["etag"]},
        )
        assert answer.status_code == 200, answer.text
        task = answer.json()
    assert (task["status"], task["result"]) == ("completed", list(ANSWERS.values()))
    gone = stack.request("GET", f"/tasks/{task_id}", caller=caller)
    assert (gone.status_code, gone.headers["content-type"]) == (404, "application/problem+json")


def test_tasks_are_listed_and_deleted(stack, caller, task_id):
    for _ in range(2):
        stack.invoke("Execute", {"code": REFERENCE, "id": task_id})
        assert task_id in [task["id"] for task in stack.invoke("Task", {"action": "list"})["tasks"]]
        assert stack.invoke("Task", {"action": "delete", "id": task_id}) == {"id": task_id, "deleted": True}
    stack.invoke("Execute", {"code": REFERENCE, "id": task_id})
    listed = stack.request("GET", "/tasks?status=paused", caller=caller)
    assert task_id in [task["id"] for task in listed.json()["tasks"]]
    assert stack.request("DELETE", f"/tasks/{task_id}", caller=caller).status_code == 204
    assert stack.request("DELETE", f"/tasks/{task_id}", caller=caller).status_code == 404


def test_an_id_may_have_any_character(stack, caller):
    made = stack.request("POST", "/tasks", {"code": REFERENCE, "id": "a/b#c"}, caller=caller)
    assert made.status_code == 201
    for path in ("/tasks/a%2Fb%23c/resume", "/tasks/a%2Fb%23c/resume"):
        answer = stack.request("POST", path, {"fetchResponse": 1}, caller=caller)
        assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"


def test_a_hop_may_keep_or_forget_the_outcome_and_be_repeated(stack, task_id):
    """Each takes another path through the storage, and so may need another permission."""
    event = {"code": REFERENCE, "id": task_id, "retain": 3600, "idempotencyKey": task_id}
    first = stack.invoke("Execute", event)
    assert stack.invoke("Execute", event)["revision"] == first["revision"]
    for number, answer in enumerate((1, 2), start=1):
        event = {"id": task_id, "fetchResponse": answer, "idempotencyKey": f"{task_id}-{number}", "requestId": number}
        done = stack.invoke("Resume", event)
        assert stack.invoke("Resume", event)["revision"] == done["revision"]
    assert stack.invoke("Task", {"action": "get", "id": task_id})["result"] == [1, 2]
    stack.invoke("Task", {"action": "delete", "id": task_id})


def test_a_large_state_goes_to_the_bucket_which_refuses_whoever_comes_without_tls(stack, caller, task_id):
    s3, bucket = stack.cloud.client("s3"), stack.outputs["BucketName"]
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    with pytest.raises(FunctionError):
        stack.invoke("Execute", {"code": LARGE, "id": task_id})
    s3.delete_bucket_policy(Bucket=bucket)
    try:
        task = stack.invoke("Execute", {"code": LARGE, "id": task_id})
        assert task["pausedState"]["stateBytes"] > 400_000
        (kept,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
        assert kept["Key"].startswith("days-7/")
        assert stack.invoke("Task", {"action": "get", "id": task_id, "include": "vmState"})["vmState"]
        done = stack.invoke("Resume", {"id": task_id, "fetchResponse": 2})
        assert (done["status"], done["result"]) == ("completed", 160_000)
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

        for delete in (
            lambda: stack.invoke("Task", {"action": "delete", "id": task_id}),
            lambda: stack.request("DELETE", f"/tasks/{task_id}", caller=caller).raise_for_status(),
        ):
            made = stack.request("POST", "/tasks", {"code": LARGE, "id": task_id}, caller=caller)
            assert made.status_code == 201, made.text
            assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
            delete()
            assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        stack.request("POST", "/tasks", {"code": LARGE, "id": task_id}, caller=caller)
        done = stack.request("POST", f"/tasks/{task_id}/resume", {"fetchResponse": 3}, caller=caller)
        assert done.json()["result"] == 240_000
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)


# --- What docs/deploy.md says to do ---

GUIDE = (ROOT / "docs" / "deploy.md").read_text()


def test_the_guides_calls_with_curl_are_answered_as_it_says(stack, caller, tmp_path):
    examples = re.findall(r"```sh\n# (\d+)\n(.*?)```", GUIDE, re.DOTALL)
    assert [status for status, _ in examples] == ["201", "200"]
    for status, command in examples:
        done = subprocess.run(
            ["bash", "-euc", command.replace("curl -i", "curl --silent --show-error -i")],
            env={
                "PATH": os.environ["PATH"],
                "URL": stack.outputs["Url"],
                "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": caller.access_key,
                "AWS_SECRET_ACCESS_KEY": caller.secret_key,
                "AWS_SESSION_TOKEN": "",
                "no_proxy": "localhost",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[0].split()[1] == status, done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["result"] == "Alice"


def test_the_guides_program_with_boto3_prints_what_it_says(stack):
    ((program, printed),) = re.findall(r"```python\n(.*?)```\s+```\n(.*?)```", GUIDE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **stack.cloud.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (printed, 0), done.stderr


def test_the_guides_state_machine_runs_a_program_to_its_end(stack):
    (text,) = [block for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL) if '"StartAt"' in block]
    retried = {
        name
        for state in json.loads(text)["States"].values()
        for each in state.get("Retry", [])
        for name in each["ErrorEquals"]
    }
    caught = {
        name
        for state in json.loads(text)["States"].values()
        for each in state.get("Catch", [])
        for name in each["ErrorEquals"]
    }
    for name in retried - {name for name in retried if name.startswith("Lambda.")}:
        assert issubclass(getattr(errors, name), errors.RetryableError)
    assert all(issubclass(getattr(errors, name), errors.CallerError) for name in caught)

    cloud = stack.cloud
    iam, functions, states = cloud.client("iam"), cloud.client("lambda"), cloud.client("stepfunctions")
    arns = {}
    for service in ("lambda", "states"):
        trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arns[service] = iam.create_role(RoleName=f"guide-{service}", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="guide-states", PolicyName="invoke", PolicyDocument=document)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr(
            "answers.py", f"ANSWERS = {ANSWERS!r}\ndef handler(event, _): return ANSWERS[event['url'][{len(API)}:]]\n"
        )
    functions.create_function(
        FunctionName="your-function",
        Runtime="python3.13",
        Role=arns["lambda"],
        Handler="answers.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    machine = states.create_state_machine(name="guide", definition=text, roleArn=arns["states"])["stateMachineArn"]
    for code, status, output in (
        (REFERENCE, "SUCCEEDED", list(ANSWERS.values())),
        ("await sleep(500); await sleep(500); 'awake'", "SUCCEEDED", "awake"),
        (f"await fetch('{API}/posts'); null.nothing", "FAILED", None),
    ):
        run = states.start_execution(stateMachineArn=machine, input=json.dumps({"code": code}))["executionArn"]
        deadline = time.monotonic() + 60
        while (ended := states.describe_execution(executionArn=run))["status"] == "RUNNING":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert ended["status"] == status, (ended, states.get_execution_history(executionArn=run)["events"][-4:])
        if status == "SUCCEEDED":
            assert json.loads(ended["output"]) == output
        else:
            assert ended["error"] == "TypeError"


# --- The events that `sam local invoke` is given ---


def event(name: str) -> Any:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def test_the_events_of_direct_invocation_are_what_the_functions_take(stack):
    assert stack.invoke("Execute", event("execute"))["status"] == "paused"
    assert stack.invoke("Task", event("task-get"))["vmState"]
    assert [task["id"] for task in stack.invoke("Task", event("task-list"))["tasks"]].count("order-1") == 1
    assert stack.invoke("Resume", event("resume"))["revision"] == 2
    assert stack.invoke("Task", event("task-delete"))["deleted"] is True
    sleeper = stack.invoke("Execute", event("execute-typescript"))
    assert (sleeper["language"], sleeper["fetchRequest"], sleeper["pausedState"]["timers"]) == ("typescript", None, 1)
    assert stack.invoke("Resume", event("resume-timers"))["id"] == sleeper["id"]


def test_the_events_of_http_are_what_the_function_takes(stack):
    names = ["health", "execute", "get", "list", "resume", "delete"]
    answers = [stack.invoke("Api", event(f"api-http-v2-{name}")) for name in names]
    assert [answer["statusCode"] for answer in answers] == [200, 201, 200, 200, 200, 204]
    for name in ("api-rest-v1", "api-function-url"):
        answer = stack.invoke("Api", event(name))
        assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (201, "paused"), answer
    stack.invoke("Task", event("task-delete"))


# --- Who may ---


#: All but the one that takes an event of whoever has a URL for it.
CLOSED = [operation for operation in OPERATIONS if operation.id != "takeEvent"]


def path_of(operation):
    return operation.path.replace("{id}", "some-task").replace("{name}", "paid").replace("{token}", "a-token")


@pytest.mark.parametrize("operation", CLOSED, ids=lambda operation: operation.id)
def test_no_operation_is_open(stack, operation):
    path = path_of(operation)
    stranger, other = make_user(stack.cloud), make_user(stack.cloud, {"Action": "s3:ListBucket", "Resource": "*"})
    forged = Credentials(stranger.access_key, "not the secret of that key")
    for caller in (None, stranger, other, forged):
        refused = stack.request(
            operation.method, path, {} if operation.method == "POST" else None, caller=caller, stage="$default"
        )
        assert refused.status_code == 403, (caller, refused.text)


def test_whoever_has_a_url_may_send_its_event_and_nothing_else(stack, caller, task_id):
    code = {"code": "const first = await waitForEvent('paid'); await waitForEvent('sent'); first", "id": task_id}
    assert stack.request("POST", "/tasks", code, caller=caller).status_code == 201
    made = stack.request("POST", f"/tasks/{task_id}/events/paid/url", {"ttl": 60}, caller=caller)
    assert made.status_code == 201, made.text
    path = "/events/" + made.json()["token"]
    assert made.json()["url"].endswith(path)
    assert f"//{stack.outputs['ApiId']}.execute-api." in made.json()["url"]
    taken = stack.request("POST", path, {"cents": 500})
    assert (taken.status_code, taken.json()) == (202, {"accepted": True})
    assert stack.request("POST", path, {"cents": 1}).status_code == 409
    assert stack.request("POST", f"{path}x", {"cents": 1}).status_code == 404
    for method in ("GET", "PUT", "DELETE"):
        assert stack.request(method, path, stage="$default").status_code == 403
    task = stack.request("POST", f"/tasks/{task_id}/events/sent", 1, caller=caller).json()
    assert task["result"] == {"cents": 500}


def test_who_may_call_gets_health_description_and_a_problem_for_what_is_not_there(stack, caller):
    assert stack.request("GET", "/health", caller=caller, stage="$default").json() == {"status": "ok"}
    assert "/tasks" in stack.request("GET", "/openapi.json", caller=caller).json()["paths"]
    for method, path, status in (("GET", "/nothing", 404), ("PUT", "/tasks", 405), ("PATCH", "/things/a", 404)):
        answer = stack.request(method, path, caller=caller)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path


def test_a_caller_may_be_let_in_to_some_of_it(stack, caller, task_id):
    arn = f"arn:aws:execute-api:{REGION}:000000000000:{stack.outputs['ApiId']}/*/GET/*"
    reader = make_user(stack.cloud, {"Action": "execute-api:Invoke", "Resource": arn})
    assert stack.request("POST", "/tasks", {"code": REFERENCE, "id": task_id}, caller=reader).status_code == 403
    assert stack.request("POST", "/tasks", {"code": REFERENCE, "id": task_id}, caller=caller).status_code == 201
    assert stack.request("GET", f"/tasks/{task_id}", caller=reader).status_code == 200


# --- What stands there ---


def test_the_table_is_on_demand_and_has_its_index(stack):
    table = stack.cloud.client("dynamodb").describe_table(TableName=stack.outputs["TableName"])["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["by-status"]


def test_what_cloudformation_does_not_keep_here_is_what_the_services_take(stack):
    dynamodb, table = stack.cloud.client("dynamodb"), stack.outputs["TableName"]
    made = properties("TaskTable")
    dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=made["TimeToLiveSpecification"])
    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    recovery = {"PointInTimeRecoveryEnabled": True}
    dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=recovery)
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    s3, bucket = stack.cloud.client("s3"), stack.outputs["BucketName"]
    rules = [
        {"ID": rule.pop("Id"), "Filter": {"Prefix": rule.pop("Prefix", "")}}
        | ({"Expiration": {"Days": rule.pop("ExpirationInDays")}} if "ExpirationInDays" in rule else {})
        | rule
        for rule in map(dict, properties("StateBucket")["LifecycleConfiguration"]["Rules"])
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert len(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) == 5


def test_the_bucket_lets_nobody_in_who_is_not_of_the_account(stack):
    s3, name = stack.cloud.client("s3"), stack.outputs["BucketName"]
    blocked = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize(("function", "timeout"), [("Execute", 60), ("Resume", 60), ("Task", 60), ("Api", 29)])
def test_a_function_has_its_settings(stack, function, timeout):
    made = stack.configuration(function)
    assert made["Version"] == "1"  # the one of the alias
    assert made["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert (made["Runtime"], made["Architectures"]) == ("python3.13", [NATIVE])
    assert (made["MemorySize"], made["Timeout"]) == (1024, timeout)
    assert made["LoggingConfig"]["LogGroup"] == f"/aws/lambda/sequential-{function.lower()}"


def test_logs_expire_and_alarms_and_a_dashboard_are_there(stack):
    groups = stack.cloud.client("logs").describe_log_groups()["logGroups"]
    functions = ("execute", "resume", "task", "api", "driver", "dead-letters")
    kept = {
        group["logGroupName"]: group["retentionInDays"] for group in groups if "/sequential" in group["logGroupName"]
    }
    assert kept == dict.fromkeys(
        [
            *(f"/aws/lambda/sequential-{name}" for name in functions),
            "/aws/apigateway/sequential",
        ],
        30,
    )
    watch = stack.cloud.client("cloudwatch")
    names = {alarm["AlarmName"] for alarm in watch.describe_alarms()["MetricAlarms"]}
    own = {f"sequential-{name}-{kind}" for name in functions for kind in ("errors", "throttles", "duration")}
    assert names >= own | {"sequential-conflicts", "sequential-api-5xx", "sequential-table-write-throttles"}
    assert names >= {f"sequential-driver-{kind}" for kind in ("age", "dead-letters", "dropped-wakes")}
    ours = {name for name in names if name.startswith("sequential-")}
    assert len(ours) == 29  # as docs/deploy.md counts them, Costs
    board = json.loads(watch.get_dashboard(DashboardName="sequential")["DashboardBody"])
    assert board["widgets"][0]["properties"]["title"] == "Hops"


def test_the_api_writes_access_logs(stack):
    (stage,) = stack.cloud.client("apigatewayv2").get_stages(ApiId=stack.outputs["ApiId"])["Items"]
    assert ":log-group:/aws/apigateway/sequential" in stage["AccessLogSettings"]["DestinationArn"]


# --- Other choices, and the end ---


def test_with_keys_nothing_is_open_without_one(deploy, task_id):
    stack = deploy("keys", Authorization="ApiKey", MemorySize="512")
    stage = "live"
    key = stack.cloud.client("apigateway").get_api_key(apiKey=stack.outputs["ApiKeyId"], includeValue=True)["value"]
    for operation in CLOSED:
        for headers in ({}, {"x-api-key": "not a key"}):
            refused = stack.request(operation.method, path_of(operation), headers=headers, stage=stage)
            assert refused.status_code == 403, operation
    headers = {"x-api-key": key}
    made = stack.request("POST", "/tasks", {"code": REFERENCE, "id": task_id}, headers=headers, stage=stage)
    assert made.status_code == 201, made.text
    task = made.json()
    while task["status"] == "paused":
        body = {"fetchResponse": answer_of(task)}
        task = stack.request("POST", f"/tasks/{task_id}/resume", body, headers=headers, stage=stage).json()
    assert task["result"] == list(ANSWERS.values())
    assert stack.configuration("Api")["MemorySize"] == 512

    code = {"code": "await waitForEvent('paid')", "id": f"{task_id}-2", "retain": 60}
    stack.request("POST", "/tasks", code, headers=headers, stage=stage)
    made = stack.request("POST", f"/tasks/{task_id}-2/events/paid/url", headers=headers, stage=stage).json()
    assert made["url"].endswith(f"/{stage}/events/{made['token']}")
    assert stack.request("POST", f"/events/{made['token']}", 7, stage=stage).status_code == 202
    assert stack.request("GET", f"/tasks/{task_id}-2", headers=headers, stage=stage).json()["result"] == 7


def test_with_tokens_nothing_is_open_without_one_and_the_stack_can_be_changed_and_removed(deploy, cloud, task_id):
    cognito = cloud.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="users")["UserPool"]["Id"]
    flows = ["ALLOW_USER_PASSWORD_AUTH"]
    client = cognito.create_user_pool_client(UserPoolId=pool, ClientName="app", ExplicitAuthFlows=flows)[
        "UserPoolClient"
    ]
    parameters = {
        "Authorization": "JWT",
        "JwtIssuer": f"https://cognito-idp.{REGION}.amazonaws.com/{pool}",
        "JwtAudience": client["ClientId"],
    }
    stack = deploy("tokens", **parameters)
    for operation in CLOSED:
        for headers in ({}, {"authorization": "Bearer not.a.token"}):
            refused = stack.request(operation.method, path_of(operation), headers=headers, stage="$default")
            assert refused.status_code == 401, operation
    cognito.admin_create_user(UserPoolId=pool, Username="alice")
    cognito.admin_set_user_password(UserPoolId=pool, Username="alice", Password="Correct-Horse-1", Permanent=True)
    login = cognito.initiate_auth(
        AuthFlow="USER_PASSWORD_AUTH",
        ClientId=client["ClientId"],
        AuthParameters={"USERNAME": "alice", "PASSWORD": "Correct-Horse-1"},
    )
    token = {"authorization": f"Bearer {login['AuthenticationResult']['AccessToken']}"}
    made = stack.request("POST", "/tasks", {"code": REFERENCE, "id": task_id}, headers=token)
    assert made.status_code == 201, made.text
    assert made.json()["ttl"] == 7200

    # A parameter that only the environment has makes a version, and the alias goes to it.
    changed = deploy("tokens", **parameters, TtlSeconds="60")
    assert changed.outputs == stack.outputs
    assert stack.configuration("Execute")["Version"] == "2"
    other = stack.request("POST", "/tasks", {"code": REFERENCE, "id": f"{task_id}-2"}, headers=token)
    assert other.json()["ttl"] == 60
    assert stack.request("GET", f"/tasks/{task_id}", headers=token).json()["ttl"] == 7200

    formation = cloud.client("cloudformation")
    identifier = formation.describe_stacks(StackName="tokens")["Stacks"][0]["StackId"]
    formation.delete_stack(StackName="tokens")
    wait(cloud, identifier, "DELETE_COMPLETE")
    with pytest.raises(cloud.client("lambda").exceptions.ResourceNotFoundException):
        stack.configuration("Execute")
    items = cloud.client("dynamodb").query(
        TableName=stack.outputs["TableName"],
        KeyConditionExpression="pk = :id",
        ExpressionAttributeValues={":id": {"S": task_id}},
    )
    assert items["Count"] == 2  # the task and its code
    cloud.client("s3").head_bucket(Bucket=stack.outputs["BucketName"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Authorization": "JWT"}, "Authorization=JWT needs JwtIssuer"),
        ({"Authorization": "JWT", "JwtIssuer": "https://issuer.example.com"}, "Authorization=JWT needs JwtAudience"),
        ({"Authorization": "ApiKey", "CorsOrigins": "https://app.example.com"}, "a web page is no secret"),
        ({"Authorization": "NONE"}, "Authorization"),
        ({"JwtIssuer": "http://issuer.example.com"}, "JwtIssuer"),
        ({"MemorySize": "128"}, "MemorySize"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_made(deploy, parameters, message):
    with pytest.raises(ClientError, match=message):
        deploy("wrong", **parameters)


def test_the_template_has_the_outputs_that_are_used_here(stack):
    assert set(stack.outputs) == set(load(ROOT_TEMPLATE)["Outputs"]) - {"ApiKeyId"}
