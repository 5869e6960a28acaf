"""What template.yaml and infra/ promise, read from the files."""

from __future__ import annotations

import ast
import json
import re

import pytest

from infra.templates import ROOT, ROOT_TEMPLATE, STACK, TEMPLATES, chosen, inside, listed, load, properties, resources
from sequential_core.http.operations import OPERATIONS
from sequential_core.storage import items, objects
from sequential_core.storage.dynamodb import DynamoDBStorage
from sequential_core.storage.url import storage_from_url

HTTP = ROOT / "infra" / "http-api.yaml"
REST = ROOT / "infra" / "rest-api.yaml"
MONITORING = ROOT / "infra" / "monitoring.yaml"

FUNCTIONS = resources(ROOT_TEMPLATE, "AWS::Serverless::Function")
GLOBALS = load(ROOT_TEMPLATE)["Globals"]["Function"]

TABLE = {"Fn::GetAtt": "TaskTable.Arn"}
INDEX = {"Fn::Sub": "${TaskTable.Arn}/index/by-status"}
OBJECTS = {"Fn::Sub": "${StateBucket.Arn}/*"}
QUEUE = {"Fn::GetAtt": "DriverQueue.Arn"}
DEAD_LETTERS = {"Fn::GetAtt": "DriverDeadLetters.Arn"}
KEY = {"Fn::GetAtt": "SigningKey.Id"}
WAKES = {"Fn::Sub": "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule/${WakeGroup}/*"}
SCHEDULER = {"Fn::GetAtt": "SchedulerRole.Arn"}

READ_MESSAGES = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}

# Of each function: where it may do what, besides its logs. What each needs is found by tests/infra/test_deploy.py, with
# IAM enforced; and what Lambda needs to read a queue is in its guide ("Configuring an execution role", Amazon SQS).
ALLOWED = {
    "ExecuteFunction": [
        (TABLE, {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"}),
        (OBJECTS, {"s3:GetObject", "s3:PutObject"}),
        (QUEUE, {"sqs:SendMessage"}),
    ],
    "ResumeFunction": [
        (TABLE, {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}),
        (OBJECTS, {"s3:DeleteObject", "s3:GetObject", "s3:PutObject"}),
        (QUEUE, {"sqs:SendMessage"}),
    ],
    "TaskFunction": [
        (TABLE, {"dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"}),
        (INDEX, {"dynamodb:Query"}),
        (OBJECTS, {"s3:DeleteObject", "s3:GetObject"}),
    ],
    "ApiFunction": [
        (
            TABLE,
            {
                "dynamodb:BatchGetItem",
                "dynamodb:DeleteItem",
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
            },
        ),
        (INDEX, {"dynamodb:Query"}),
        (OBJECTS, {"s3:DeleteObject", "s3:GetObject", "s3:PutObject"}),
        (QUEUE, {"sqs:SendMessage"}),
        (KEY, {"secretsmanager:GetSecretValue"}),
    ],
    "DriverFunction": [
        (TABLE, {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}),
        (OBJECTS, {"s3:DeleteObject", "s3:GetObject", "s3:PutObject"}),
        (QUEUE, {*READ_MESSAGES, "sqs:ChangeMessageVisibility", "sqs:SendMessage"}),
        (DEAD_LETTERS, {"sqs:SendMessage"}),
        (WAKES, {"scheduler:CreateSchedule"}),
        (SCHEDULER, {"iam:PassRole"}),
        (KEY, {"secretsmanager:GetSecretValue"}),
    ],
    "DeadLetterFunction": [
        (TABLE, {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}),
        (OBJECTS, {"s3:DeleteObject", "s3:GetObject", "s3:PutObject"}),
        (DEAD_LETTERS, READ_MESSAGES),
        (QUEUE, {"sqs:SendMessage"}),
    ],
}


def role_of(function):
    return FUNCTIONS[function]["Properties"]["Role"]["Fn::GetAtt"].removesuffix(".Arn")


def statements(role, *, traced):
    for policy in properties(role)["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            made = chosen(statement, IsTraced=traced)
            if made != {"Ref": "AWS::NoValue"}:
                yield made


# --- Permissions ---


@pytest.mark.parametrize("function", ALLOWED)
def test_a_function_may_do_what_it_needs_and_no_more(function):
    logs = {"Fn::GetAtt": FUNCTIONS[function]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"] + ".Arn"}
    allowed = [
        (action, resource)
        for statement in statements(role_of(function), traced=False)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    expected = [(action, resource) for resource, actions in ALLOWED[function] for action in actions]
    expected += [(f"logs:{action}", logs) for action in ("CreateLogStream", "PutLogEvents")]
    assert sorted(map(str, allowed)) == sorted(map(str, expected))


@pytest.mark.parametrize("function", ALLOWED)
def test_tracing_adds_the_two_calls_of_x_ray_which_has_no_resources(function):
    role = role_of(function)
    (added,) = [each for each in statements(role, traced=True) if each not in statements(role, traced=False)]
    assert added["Resource"] == "*"
    assert added["Action"] == ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]


def test_every_function_has_a_role_of_its_own_that_only_lambda_assumes():
    assert set(FUNCTIONS) == set(ALLOWED)
    roles = [role_of(function) for function in FUNCTIONS]
    assert sorted([*roles, "SchedulerRole"]) == sorted(resources(ROOT_TEMPLATE, "AWS::IAM::Role"))
    for role in roles:
        assert set(properties(role)) == {"AssumeRolePolicyDocument", "Policies"}
        (trust,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_a_schedule_may_send_to_the_drivers_queue_and_only_one_of_this_group_and_account_may():
    (trust,) = properties("SchedulerRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {
        "StringEquals": {
            "aws:SourceAccount": {"Ref": "AWS::AccountId"},
            "aws:SourceArn": {"Fn::GetAtt": "WakeGroup.Arn"},
        }
    }
    (statement,) = statements("SchedulerRole", traced=True)
    assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", QUEUE)


def test_the_schedulers_role_is_given_to_nobody_but_the_scheduler():
    (passed,) = (each for each in statements("DriverRole", traced=False) if each["Action"] == "iam:PassRole")
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}


def test_no_statement_allows_a_wildcard_but_those_named_here():
    for path in TEMPLATES:
        for statement in inside(load(path)):
            if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
                continue
            assert not [action for action in listed(statement["Action"]) if "*" in action]
            wild = [each for each in listed(statement.get("Resource", [])) if "*" in str(each)]
            assert wild in ([], [OBJECTS], [WAKES]) or (wild, statement["Sid"]) == (["*"], "Traces")


def test_api_gateway_may_call_the_function_for_its_own_api_only():
    for path in (HTTP, REST):
        (permission,) = resources(path, "AWS::Lambda::Permission").values()
        assert permission["Properties"]["SourceArn"]["Fn::Sub"].endswith(":${Api}/*")


# --- Functions ---


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_handler_that_exists(function):
    module, _, name = FUNCTIONS[function]["Properties"]["Handler"].rpartition(".")
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_built_by_the_makefile_of_its_architecture(function):
    assert FUNCTIONS[function]["Metadata"] == {
        "BuildMethod": "makefile",
        "ContextPath": {"Fn::Sub": "infra/package/${Architecture}"},
    }
    for architecture in load(ROOT_TEMPLATE)["Parameters"]["Architecture"]["AllowedValues"]:
        assert (ROOT / "infra" / "package" / architecture / "Makefile").is_file()


def test_functions_are_versioned_snapped_and_for_the_architecture_that_was_chosen():
    assert GLOBALS["AutoPublishAlias"] == "live"
    assert GLOBALS["AutoPublishAliasAllProperties"] is True
    assert GLOBALS["VersionDeletionPolicy"] == "Delete"
    assert GLOBALS["SnapStart"]["ApplyOn"] == {"Fn::If": ["IsSnapped", "PublishedVersions", "None"]}
    assert GLOBALS["Architectures"] == [{"Ref": "Architecture"}]
    assert load(ROOT_TEMPLATE)["Parameters"]["Architecture"]["Default"] == "arm64"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_parameter_that_changes_a_function_makes_a_version_of_it(function):
    """SAM makes one when the text of the template changes, and a parameter's value is not in it."""
    description = FUNCTIONS[function]["Properties"]["VersionDescription"]["Fn::Sub"]
    used = {entry["Ref"] for entry in inside(GLOBALS) if isinstance(entry, dict) and "Ref" in entry}
    conditions = {entry["Fn::If"][0] for entry in inside(GLOBALS) if isinstance(entry, dict) and "Fn::If" in entry}
    for condition in conditions:
        used |= {
            e["Ref"] for e in inside(load(ROOT_TEMPLATE)["Conditions"][condition]) if isinstance(e, dict) and "Ref" in e
        }
    parameters = used & load(ROOT_TEMPLATE)["Parameters"].keys()
    assert parameters - {"Architecture"} == set(re.findall(r"\$\{(\w+)\}", description))


def variables(function):
    """Those of a function, with what all functions have."""
    own = FUNCTIONS[function]["Properties"].get("Environment", {}).get("Variables", {})
    return {**GLOBALS["Environment"]["Variables"], **own}


def test_environment_variables_are_those_that_the_handlers_read():
    given = {name for function in FUNCTIONS for name in variables(function)}
    sources = [*(ROOT / "handlers").glob("*.py"), ROOT / "sequential_core" / "storage" / "url.py"]
    read = {
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(SEQUENTIAL|POWERTOOLS)_[A-Z_]+", node.value)
    }
    # Only a test lets the driver call the machine that it is on.
    read.remove("SEQUENTIAL_DRIVER_LOOPBACK")
    # powertools reads these three itself.
    assert given == read | {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}


def test_whoever_may_schedule_or_sign_is_told_with_what_and_nobody_else_is():
    schedulers = {"SEQUENTIAL_SCHEDULE_GROUP", "SEQUENTIAL_SCHEDULER_ROLE", "SEQUENTIAL_DRIVER_QUEUE_ARN"}
    for function, allowed in ALLOWED.items():
        given, resources = variables(function), [resource for resource, _ in allowed]
        assert (schedulers <= given.keys()) is (WAKES in resources)
        assert ("SEQUENTIAL_SIGNING_KEY_SECRET" in given) is (KEY in resources)
        assert given["SEQUENTIAL_DRIVER_QUEUE"] == {"Ref": "DriverQueue"}


def test_the_storage_is_the_table_and_the_bucket(monkeypatch):
    text = GLOBALS["Environment"]["Variables"]["SEQUENTIAL_STORAGE"]["Fn::Sub"]
    for name, value in {"TaskTable": "a-table", "StateBucket": "a-bucket", "AWS::Region": "eu-north-1"}.items():
        text = text.replace(f"${{{name}}}", value)
    storage = storage_from_url(text)
    assert isinstance(storage, DynamoDBStorage)
    assert (storage._table, storage._bucket._name, storage._options["region"]) == ("a-table", "a-bucket", "eu-north-1")


def test_nothing_is_retained_of_outcomes_unless_asked_for():
    retain = GLOBALS["Environment"]["Variables"]["SEQUENTIAL_RETAIN_SECONDS"]
    assert chosen(retain, RetainsOutcomes=False) == {"Ref": "AWS::NoValue"}
    assert load(ROOT_TEMPLATE)["Parameters"]["RetainSeconds"]["Default"] == 0
    assert load(ROOT_TEMPLATE)["Parameters"]["TtlSeconds"]["Default"] == 7200


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_writes_to_its_own_log_group_which_expires(function):
    group = properties(FUNCTIONS[function]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"])
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_every_log_group_expires():
    for path in TEMPLATES:
        for group in resources(path, "AWS::Logs::LogGroup").values():
            assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_no_answer_takes_longer_than_api_gateway_waits():
    timeouts = {name: entry["Properties"]["Timeout"] for name, entry in FUNCTIONS.items()}
    assert {timeouts.pop(name) for name in ("ExecuteFunction", "ResumeFunction", "TaskFunction")} == {60}
    assert timeouts.pop("ApiFunction") == 29
    assert timeouts == {"DriverFunction": 120, "DeadLetterFunction": 60}  # nobody waits for these


# --- Driven tasks ---


def source_of(function):
    (event,) = FUNCTIONS[function]["Properties"]["Events"].values()
    assert event["Type"] == "SQS"
    return event["Properties"]


@pytest.mark.parametrize(
    ("function", "queue"), [("DriverFunction", "DriverQueue"), ("DeadLetterFunction", "DriverDeadLetters")]
)
def test_a_queue_is_read_in_batches_of_which_parts_may_fail(function, queue):
    source = source_of(function)
    assert source["Queue"] == {"Fn::GetAtt": f"{queue}.Arn"}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert properties(queue)["VisibilityTimeout"] == 6 * FUNCTIONS[function]["Properties"]["Timeout"]
    assert properties(queue)["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert properties(queue)["SqsManagedSseEnabled"] is True


def test_how_many_tasks_are_driven_at_once_can_be_chosen():
    source, parameters = source_of("DriverFunction"), load(ROOT_TEMPLATE)["Parameters"]
    assert source["BatchSize"] == {"Ref": "DriverBatchSize"}
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "DriverConcurrency"}}
    # What Lambda takes, and what the handler has threads for.
    assert (parameters["DriverConcurrency"]["MinValue"], parameters["DriverConcurrency"]["MaxValue"]) == (2, 1000)
    assert parameters["DriverBatchSize"]["MaxValue"] == constant("driver", "_AT_ONCE") == 10


def constant(module, name):
    """What a module of handlers assigns to a name."""
    (value,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "handlers" / f"{module}.py").read_text()).body
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]
    )
    return value


def test_a_message_that_fails_ten_times_is_given_up_and_only_this_queues_messages_are():
    redrive = properties("DriverQueue")["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == DEAD_LETTERS
    assert redrive["maxReceiveCount"] == constant("driver", "MOST_TIMES") == 10
    allowed = properties("DriverDeadLetters")["RedriveAllowPolicy"]
    assert allowed["redrivePermission"] == "byQueue"
    (source,) = allowed["sourceQueueArns"]
    assert source["Fn::Sub"].endswith(f":{properties('DriverQueue')['QueueName']['Fn::Sub']}")


def test_the_driver_may_send_itself_messages_for_ever():
    """Lambda ends what looks like a loop at the 16th message."""
    assert FUNCTIONS["DriverFunction"]["Properties"]["RecursiveLoop"] == "Allow"


def test_the_queues_are_only_for_tls():
    policy = properties("DriverQueuesPolicy")
    assert policy["Queues"] == [{"Ref": name} for name in resources(ROOT_TEMPLATE, "AWS::SQS::Queue")]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Resource"]) == ("Deny", [QUEUE, DEAD_LETTERS])
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(statement["Action"]) == {"sqs:ReceiveMessage", "sqs:SendMessage"}


def test_the_signing_key_is_random_and_longer_than_what_it_makes():
    generated = properties("SigningKey")["GenerateSecretString"]
    assert generated == {"PasswordLength": 64, "ExcludePunctuation": True}  # 6 bits a character, 384 in all


def test_nothing_is_kept_in_memory_for_the_function_that_is_hardly_ever_called():
    assert FUNCTIONS["DeadLetterFunction"]["Properties"]["SnapStart"] == {"ApplyOn": "None"}


# --- Data ---


def test_the_table_is_the_storages():
    table = properties("TaskTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [("pk", "HASH"), ("sk", "RANGE")]
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == items.INDEX
    assert tuple(key["AttributeName"] for key in index["KeySchema"]) == items.INDEX_KEYS
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    assert types == {"pk": "S", "sk": "S", "listed": "S", "age": "B"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": items.TTL_ATTRIBUTE, "Enabled": True}


def test_the_table_is_encrypted_and_can_be_restored():
    table = properties("TaskTable")
    assert table["SSESpecification"] == {"SSEEnabled": True}
    recovery = table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    assert chosen(recovery, IsRecoverable=True) is True
    assert load(ROOT_TEMPLATE)["Parameters"]["PointInTimeRecovery"]["Default"] == "on"


def test_what_holds_tasks_stays_when_the_stack_goes():
    for name in ("TaskTable", "StateBucket"):
        resource = load(ROOT_TEMPLATE)["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_an_object_goes_a_day_after_its_class_of_lifetime():
    rules = properties("StateBucket")["LifecycleConfiguration"]["Rules"]
    expiring = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert expiring == {f"days-{days}/": days + 1 for days in objects.LIFETIMES}
    assert not [prefix for prefix in expiring if f"{objects.KEEP}/".startswith(prefix)]
    assert {"DaysAfterInitiation": 1} in [rule.get("AbortIncompleteMultipartUpload") for rule in rules]
    assert all(rule["Status"] == "Enabled" for rule in rules)


def test_the_bucket_is_private_encrypted_and_only_for_tls():
    bucket = properties("StateBucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (statement,) = properties("StateBucketPolicy")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [{"Fn::GetAtt": "StateBucket.Arn"}, OBJECTS]


# --- HTTP ---


def routes():
    return {name: entry["Properties"] for name, entry in resources(HTTP, "AWS::ApiGatewayV2::Route").items()}


#: Whoever has such a URL may call it, whose token the function checks.
SIGNED = "POST /events/{token}"


@pytest.mark.parametrize("name", [name for name in routes() if name != "SignedEventRoute"])
def test_no_route_is_open_but_that_of_signed_urls(name):
    route = routes()[name]
    assert chosen(route["AuthorizationType"], UsesJwt=True) == "JWT"
    assert chosen(route["AuthorizerId"], UsesJwt=True) == {"Ref": "JwtAuthorizer"}
    assert chosen(route["AuthorizationType"], UsesJwt=False) == "AWS_IAM"


def test_the_route_of_signed_urls_is_open():
    route = routes()["SignedEventRoute"]
    assert (route["RouteKey"], route["AuthorizationType"]) == (SIGNED, "NONE")
    assert "AuthorizerId" not in route


def test_no_method_of_the_rest_api_is_without_a_key_but_that_of_signed_urls():
    methods = {name: entry["Properties"] for name, entry in resources(REST, "AWS::ApiGateway::Method").items()}
    signed = methods.pop("SignedEventMethod")
    assert (signed["HttpMethod"], signed["ResourceId"], signed["ApiKeyRequired"]) == (
        "POST",
        {"Ref": "SignedEvent"},
        False,
    )
    parts, place = [], signed["ResourceId"]
    while place != {"Fn::GetAtt": "Api.RootResourceId"}:
        resource = resources(REST, "AWS::ApiGateway::Resource")[place["Ref"]]["Properties"]
        parts.append(resource["PathPart"])
        place = resource["ParentId"]
    assert parts == ["{token}", "events"]
    for method in methods.values():
        assert method["ApiKeyRequired"] is True


def test_access_logs_have_no_path_since_that_of_a_signed_url_is_its_authority():
    formats = [
        resources(HTTP, "AWS::ApiGatewayV2::Stage")["Stage"]["Properties"]["AccessLogSettings"]["Format"],
        resources(REST, "AWS::ApiGateway::Stage")["Stage"]["Properties"]["AccessLogSetting"]["Format"],
    ]
    for each in formats:
        assert "$context.path" not in each


def test_callers_sign_with_iam_unless_something_else_is_chosen():
    parameter = load(ROOT_TEMPLATE)["Parameters"]["Authorization"]
    assert parameter["Default"] == "IAM"
    assert parameter["AllowedValues"] == ["IAM", "JWT", "ApiKey"]
    assert load(HTTP)["Parameters"]["Authorization"]["AllowedValues"] == ["IAM", "JWT"]


def test_the_routes_are_the_operations_of_the_app_and_what_is_left():
    keys = sorted(route["RouteKey"] for route in routes().values())
    known = [f"{operation.method} {operation.path}" for operation in OPERATIONS]
    others = [f"{method} /{{proxy+}}" for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")]
    assert keys == sorted([*known, *others])
    assert {str(route["Target"]) for route in routes().values()} == {str({"Fn::Sub": "integrations/${Integration}"})}


def test_pages_of_other_origins_are_let_in_only_if_named():
    cors = resources(HTTP, "AWS::ApiGatewayV2::Api")["Api"]["Properties"]["CorsConfiguration"]
    assert chosen(cors, HasCors=False) == {"Ref": "AWS::NoValue"}
    assert chosen(cors, HasCors=True)["AllowOrigins"] == {"Ref": "CorsOrigins"}
    assert load(ROOT_TEMPLATE)["Parameters"]["CorsOrigins"]["Default"] == ""


def test_both_apis_are_throttled_and_write_access_logs_in_json():
    stage = resources(HTTP, "AWS::ApiGatewayV2::Stage")["Stage"]["Properties"]
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == {"Ref": "ThrottleRate"}
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == {"Ref": "ThrottleBurst"}
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    rest = resources(REST, "AWS::ApiGateway::Stage")["Stage"]["Properties"]
    assert rest["MethodSettings"][0]["ThrottlingRateLimit"] == {"Ref": "ThrottleRate"}
    for each in (logged, json.loads(rest["AccessLogSetting"]["Format"])):
        assert {"requestId", "time", "ip", "route", "status", "milliseconds"} <= each.keys()


# --- Watching ---


def alarms():
    found = {}
    for path in TEMPLATES:
        found |= {(path.name, name): entry for name, entry in resources(path, "AWS::CloudWatch::Alarm").items()}
    return found


def test_there_are_alarms_for_errors_throttles_duration_and_conflicts():
    watched = {entry["Properties"]["MetricName"] for entry in alarms().values()}
    assert {"Errors", "Throttles", "Duration", "Conflicts", "5xx", "5XXError", "SystemErrors"} <= watched
    assert {"ReadThrottleEvents", "WriteThrottleEvents"} <= watched
    assert {"ApproximateAgeOfOldestMessage", "NumberOfMessagesReceived", "InvocationDroppedCount"} <= watched


def test_the_driver_is_watched_by_the_age_of_its_messages_the_dead_letters_and_lost_wakes():
    def watched(name):
        made = resources(MONITORING, "AWS::CloudWatch::Alarm")[name]["Properties"]
        (dimension,) = made["Dimensions"]
        return made["MetricName"], dimension["Value"]["Ref"], made["Threshold"]

    assert watched("DriverAge") == (
        "ApproximateAgeOfOldestMessage",
        "DriverQueue",
        {"Ref": "DriverAgeAlarmSeconds"},
    )
    assert watched("DeadLetters") == ("NumberOfMessagesReceived", "DriverDeadLetters", 1)
    assert watched("DroppedWakes") == ("InvocationDroppedCount", "WakeGroup", 1)
    # A message may be delayed for 900 s, and nobody promises that its age begins then.
    assert load(ROOT_TEMPLATE)["Parameters"]["DriverAgeAlarmSeconds"]["Default"] == 900 + 300


def test_silence_is_no_alarm_and_an_alarm_is_sent_if_there_is_somebody_to_tell():
    for entry in alarms().values():
        made = entry["Properties"]
        assert made["TreatMissingData"] == "notBreaching"
        assert made["AlarmActions"] == made["OKActions"]
        assert chosen(made["AlarmActions"], HasTopic=False) == {"Ref": "AWS::NoValue"}


def test_every_function_is_watched_with_four_fifths_of_its_own_timeout_and_the_driver_with_more():
    nested = resources(MONITORING, STACK)
    watched = {entry["Properties"]["Parameters"]["Function"]["Ref"]: entry for entry in nested.values()}
    assert set(watched) == set(FUNCTIONS)
    for name, entry in watched.items():
        timeout = FUNCTIONS[name]["Properties"]["Timeout"]
        # The driver works until 15 s are left, and has those to end.
        expected = (timeout - 5) * 1000 if name == "DriverFunction" else timeout * 800
        assert entry["Properties"]["Parameters"]["DurationThreshold"] == expected


def test_our_own_metrics_are_those_that_the_handlers_write():
    source = (ROOT / "handlers" / "telemetry.py").read_text()
    written = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    alarmed = {
        entry["Properties"]["MetricName"]
        for entry in alarms().values()
        if entry["Properties"]["Namespace"] == "Sequential"
    }
    assert alarmed
    assert alarmed | {"Paused", "Completed", "Failed", "HopMilliseconds", "StateBytes", "ColdStart"} <= written
    assert {"Drives", "FailedDrives", "DeadLetters", "LateMilliseconds"} <= written
    assert {"Sequential", "sequential"} <= written


@pytest.mark.parametrize("uses_api_keys", [True, False])
def test_the_dashboard_is_json(uses_api_keys):
    text, values = resources(MONITORING, "AWS::CloudWatch::Dashboard")["Dashboard"]["Properties"]["DashboardBody"][
        "Fn::Sub"
    ]
    for name, value in values.items():
        made = chosen(value, UsesApiKeys=uses_api_keys)
        text = text.replace(f"${{{name}}}", made["Fn::Sub"] if isinstance(made, dict) else made)
    board = json.loads(re.sub(r"\$\{[\w:]+\}", "name", text))
    assert len(board["widgets"]) == 9


# --- The templates themselves ---


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_nested_template_gets_the_parameters_that_it_has(path):
    for entry in resources(path, STACK).values():
        nested = load((path.parent / entry["Properties"]["TemplateURL"]).resolve())
        assert set(entry["Properties"]["Parameters"]) == set(nested["Parameters"])


def test_every_template_is_used():
    used = {
        (path.parent / entry["Properties"]["TemplateURL"]).resolve()
        for path in TEMPLATES
        for entry in resources(path, STACK).values()
    }
    assert used | {ROOT_TEMPLATE} == set(TEMPLATES)


def test_every_parameter_is_described_and_has_its_place_in_the_console():
    template = load(ROOT_TEMPLATE)
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(template["Parameters"])
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"].endswith("."), name
        constraints = {"AllowedValues", "AllowedPattern", "MinValue"}
        assert constraints & parameter.keys(), name


def test_the_document_names_every_parameter_and_its_default():
    text = (ROOT / "docs" / "deploy.md").read_text()
    for name, parameter in load(ROOT_TEMPLATE)["Parameters"].items():
        default = str(parameter["Default"]) or "none"
        assert re.search(rf"^\| `{name}` \| `?{re.escape(default)}`? \|", text, re.MULTILINE), name


def test_the_document_names_every_output():
    text = (ROOT / "docs" / "deploy.md").read_text()
    for name in load(ROOT_TEMPLATE)["Outputs"]:
        assert f"`{name}`" in text, name
