"""What arguments and enum values mean. A name means the same wherever it stands, so each is described once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from graphql import GraphQLArgument, GraphQLEnumType, GraphQLObjectType, GraphQLSchema

ARGUMENTS: Final = {
    "actor": "Who did it, as `Event.actor` names them: `user:<id>`, `system:<what>` or `anonymous`.",
    "after": "The `pageInfo.endCursor` of the page before; without it, the first page.",
    "aggregateId": "What happened to this aggregate alone.",
    "asOf": "As it was at this moment, which must be past; null where it was not there yet. Not with `atVersion`.",
    "atVersion": "As it was at this version, from 1; null where there is none such. Not with `asOf`.",
    "carrier": "Who brings it.",
    "categoryId": "The category's id.",
    "code": "Six digits of the authenticator, or a recovery code.",
    "consistentWith": "The token of a mutation's receipt: waits until what it names is shown, or says that it is not.",
    "correlationId": "What followed from this one request alone.",
    "current": "The password that is good now.",
    "currentPassword": "The present password of the account: for another e-mail address or second factor, or to erase.",
    "description": "A longer text.",
    "email": "The e-mail address.",
    "endpointId": "The endpoint's id.",
    "expectedVersion": "The version that was looked at; with another the answer is CONFLICT.",
    "first": "How many, from 1. Lists give at most 100 at a time, a history 1,000.",
    "from": "The first day, YYYY-MM-DD.",
    "id": "Its id.",
    "idempotencyKey": "A text of one's own, for one wish: sent again with the same key, it is done once.",
    "input": "What is wanted.",
    "mfaCode": "Six digits of the authenticator, or a recovery code; needed where the account has a second factor.",
    "name": "The name.",
    "new": "The new password: 10 characters to 72 bytes.",
    "number": "Its short number.",
    "orderBy": "In which order.",
    "orderId": "The order's id.",
    "parentId": "The category above.",
    "productId": "The product's id.",
    "reason": "Why; for the history, and for whom it concerns.",
    "refreshToken": "The newest refresh token, good once.",
    "role": "The role.",
    "search": "What to look for.",
    "sessionId": "Which of one's own sessions; without it, all of them.",
    "since": "Only what came after this position of the log.",
    "sku": "Its SKU.",
    "skus": "These, at most 100; without it, all.",
    "slug": "Its name in addresses.",
    "state": "Those in this state alone.",
    "to": "The last day, YYYY-MM-DD.",
    "token": "The token of the link that was mailed.",
    "trackingNumber": "The carrier's number for it.",
    "types": "Events of these types alone, like order.placed.",
    "until": "Up to and with this position of the log; without it, up to now.",
    "userId": "The account's id.",
    "where": "Which ones; without it, all.",
}

ENUM_VALUES: Final = {
    "SuspensionReason": {
        "ABUSE": "It is used against the rules.",
        "FRAUD": "It is used to deceive, or to pay with what is another's.",
        "SECURITY": "Somebody else may have it.",
        "REQUESTED": "Its owner has asked for it.",
        "OTHER": "Another reason, which is kept elsewhere.",
    },
    "Role": {
        "CUSTOMER": "Sees and orders products, and sees the own orders.",
        "STAFF": "Runs the shop: catalogue, stock, all orders and accounts.",
        "ADMIN": "What STAFF may, and grants roles and erases accounts.",
        "ANALYST": "Reads sales and the log.",
        "INTEGRATOR": "Reads the log and has webhook endpoints.",
    },
    "OrderStatus": {
        "PENDING": "Placed; its stock is not held yet.",
        "RESERVED": "Its stock is held; it is not paid for yet.",
        "CONFIRMED": "Paid for, or to be paid outside.",
        "SHIPPED": "It has left the house.",
        "DELIVERED": "The customer has it.",
        "REJECTED": "It could not be met or was not paid for; see `rejectionReason`.",
        "CANCELLED": "Given up before it was shipped.",
        "REFUNDED": "Given back after it was shipped.",
    },
    "PaymentStatus": {
        "REQUESTED": "The provider is being asked.",
        "AUTHORISED": "The provider holds the money.",
        "CAPTURED": "The money is ours.",
        "DECLINED": "The provider refused it.",
        "VOIDED": "What was held was let go.",
        "REFUNDED": "The money was given back.",
    },
    "ViewState": {
        "LIVE": "It follows the log.",
        "REBUILDING": "It is read as ever, and built anew beside that.",
        "STOPPED": "Too much is parked: an operator has to look.",
    },
    "EndpointState": {
        "ACTIVE": "It is told of events.",
        "PAUSED": "Its owner has paused it.",
        "DISABLED": "It was switched off after too many failures.",
    },
    "DeliveryState": {
        "PENDING": "It is to be posted, or to be posted again.",
        "DELIVERED": "The endpoint has taken it.",
        "FAILED": "It was given up: after three days, or because the endpoint is gone.",
    },
    "UserErrorCode": {
        "INVALID": "A value breaks a rule of its own.",
        "NOT_FOUND": "What is named does not exist, or is not the actor's to see.",
        "CONFLICT": "It was changed meanwhile; look again and repeat.",
        "ALREADY_EXISTS": "What has to be unique is taken.",
        "INSUFFICIENT_STOCK": "Fewer units are available than asked for.",
        "ILLEGAL_TRANSITION": "Its state does not allow this.",
        "PAYMENT_DECLINED": "The payment was refused. Reserved: a declined payment shows at the order, as REJECTED.",
        "IDEMPOTENCY_KEY_MISMATCH": "The key was used before with other content; use another.",
        "IDEMPOTENCY_IN_PROGRESS": "The first request with this key is still being executed; ask again.",
        "IDEMPOTENCY_PREVIOUS_FAILED": "The first request with this key was refused, and that is on record.",
        "BAD_CREDENTIALS": "E-mail address and password do not belong together.",
        "MFA_REQUIRED": "The account needs a code of its second factor too.",
        "MFA_INVALID": "The code is not the account's, or was used before.",
        "REAUTHENTICATION_REQUIRED": "The present password has to come with the request.",
        "ACCOUNT_SUSPENDED": "Password and code are right, and the account is suspended.",
        "TOKEN_REUSED": "A refresh token was used a second time; its session was ended.",
        "WEAK_PASSWORD": "The password is too short, too long, or the e-mail address.",
        "RATE_LIMITED": "Asked too often; try again later. Reserved: nothing answers with it yet.",
    },
}


def describe(core: GraphQLSchema) -> None:
    """Put the descriptions into the schema, where its own types give none."""
    for name, argument in _arguments(core):
        argument.description = argument.description or ARGUMENTS.get(name)
    for enum_name, described in ENUM_VALUES.items():
        kind = core.type_map[enum_name]
        assert isinstance(kind, GraphQLEnumType), enum_name
        for value, description in described.items():
            kind.values[value].description = description


def _arguments(core: GraphQLSchema) -> Iterator[tuple[str, GraphQLArgument]]:
    for kind in core.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            for field in kind.fields.values():
                yield from field.args.items()
