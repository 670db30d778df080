"""What one may ask: every command, its handler, who may use it, and what that costs and tells. COMMANDS is the table of
contents."""

from __future__ import annotations

from typing import Final

from commands.account_recovery import (
    RequestPasswordReset,
    ResetPassword,
    VerifyEmail,
    request_password_reset,
    reset_password,
    verify_email,
)
from commands.administration import (
    EndReusedSession,
    EndSessions,
    ResetMfa,
    ResumeUser,
    SuspendUser,
    end_reused_session,
    end_sessions,
    reset_mfa,
    resume_user,
    suspend_user,
)
from commands.catalogue import (
    AddProduct,
    PublishProduct,
    RepriceProduct,
    UpdateProduct,
    WithdrawProduct,
    add_product,
    publish_product,
    reprice_product,
    update_product,
    withdraw_product,
)
from commands.categories import (
    AddCategory,
    RemoveCategory,
    UpdateCategory,
    add_category,
    remove_category,
    update_category,
)
from commands.credentials import (
    ChangePassword,
    ConfirmMfa,
    DisableMfa,
    EnableMfa,
    change_password,
    confirm_mfa,
    disable_mfa,
    enable_mfa,
)
from commands.doors import OWN, PLAIN, Door
from commands.email_changes import UndoEmailChange, undo_email_change
from commands.handling import Command, admin, anyone, integrator, signed_in, staff, system
from commands.inventory import (
    AdjustStock,
    DispatchOrder,
    ExpireHolds,
    ReceiveStock,
    ReleaseOrder,
    ReserveOrders,
    adjust_stock,
    dispatch_order,
    expire_holds,
    receive_stock,
    release_order,
    reserve_orders,
)
from commands.notifications import RecordMailFailed, RecordMailSent, record_mail_failed, record_mail_sent
from commands.orders import (
    CancelOrder,
    DeliverOrder,
    PlaceOrder,
    RefundOrder,
    ShipOrder,
    cancel_order,
    deliver_order,
    place_order,
    refund_order,
    ship_order,
)
from commands.payments import (
    AuthorisePayment,
    CapturePayment,
    DeclinePayment,
    RefundPayment,
    VoidPayment,
    authorise_payment,
    capture_payment,
    decline_payment,
    refund_payment,
    void_payment,
)
from commands.sessions import SignIn, SignOut, sign_in, sign_out
from commands.users import (
    EraseUser,
    GrantRole,
    RegisterUser,
    RevokeRole,
    UpdateProfile,
    erase_user,
    grant_role,
    register_user,
    revoke_role,
    update_profile,
)
from commands.webhooks import (
    DisableWebhook,
    PauseWebhook,
    RegisterWebhook,
    RemoveWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    TestWebhook,
    UpdateWebhook,
    disable_webhook,
    pause_webhook,
    register_webhook,
    remove_webhook,
    replay_webhook,
    resume_webhook,
    rotate_webhook_secret,
    test_webhook,
    update_webhook,
)
from domain.disclosure import classified

MAILS_LATER: Final = Door(mails=OWN)  # to whom an order belongs, when it gets that far
POSTS: Final = Door(posts=True)

COMMANDS: Final = {
    command.request: command
    for command in (
        Command(RegisterUser, register_user, anyone, door=Door(hashes=1, mails="email", hides="email")),
        Command(SignIn, sign_in, anyone, door=Door(guesses="password", of="email", hashes=1), takes_key=False),
        Command(SignOut, sign_out, signed_in, door=PLAIN),
        Command(
            UpdateProfile,
            update_profile,
            signed_in,
            door=Door(guesses="current_password", hashes=1, mails="email"),
        ),
        Command(ChangePassword, change_password, signed_in, door=Door(guesses="current", hashes=2, mails=OWN)),
        Command(VerifyEmail, verify_email, anyone, door=Door(guesses="token", mails=OWN)),
        Command(UndoEmailChange, undo_email_change, anyone, door=Door(guesses="token", mails=OWN)),
        Command(RequestPasswordReset, request_password_reset, anyone, door=Door(mails="email")),
        Command(ResetPassword, reset_password, anyone, door=Door(guesses="token", hashes=1, mails=OWN)),
        Command(EnableMfa, enable_mfa, signed_in, door=Door(guesses="current_password", hashes=1)),
        Command(ConfirmMfa, confirm_mfa, signed_in, door=Door(guesses="code")),
        Command(DisableMfa, disable_mfa, signed_in, door=Door(guesses="code", hashes=1, mails=OWN)),
        Command(GrantRole, grant_role, admin, door=PLAIN),
        Command(RevokeRole, revoke_role, admin, door=PLAIN),
        Command(EraseUser, erase_user, signed_in, door=Door(guesses="current_password", hashes=1)),
        Command(SuspendUser, suspend_user, admin, door=PLAIN),
        Command(ResumeUser, resume_user, admin, door=PLAIN),
        Command(EndSessions, end_sessions, admin, door=PLAIN),
        Command(ResetMfa, reset_mfa, admin, door=MAILS_LATER),
        Command(EndReusedSession, end_reused_session, system, door=PLAIN),
        Command(AddCategory, add_category, staff, door=PLAIN),
        Command(UpdateCategory, update_category, staff, door=PLAIN),
        Command(RemoveCategory, remove_category, staff, door=PLAIN),
        Command(AddProduct, add_product, staff, door=PLAIN),
        Command(UpdateProduct, update_product, staff, door=PLAIN),
        Command(RepriceProduct, reprice_product, staff, door=PLAIN),
        Command(PublishProduct, publish_product, staff, door=PLAIN),
        Command(WithdrawProduct, withdraw_product, staff, door=PLAIN),
        Command(ReceiveStock, receive_stock, staff, door=PLAIN),
        Command(AdjustStock, adjust_stock, staff, door=PLAIN),
        Command(PlaceOrder, place_order, signed_in, door=MAILS_LATER),
        Command(CancelOrder, cancel_order, signed_in, door=MAILS_LATER),
        Command(ShipOrder, ship_order, staff, door=MAILS_LATER),
        Command(DeliverOrder, deliver_order, staff, door=PLAIN),
        Command(RefundOrder, refund_order, staff, door=MAILS_LATER),
        Command(ReserveOrders, reserve_orders, system, door=MAILS_LATER),
        Command(ReleaseOrder, release_order, system, door=PLAIN),
        Command(DispatchOrder, dispatch_order, system, door=PLAIN),
        Command(ExpireHolds, expire_holds, system, door=MAILS_LATER),
        Command(AuthorisePayment, authorise_payment, system, door=MAILS_LATER),
        Command(CapturePayment, capture_payment, system, door=PLAIN),
        Command(DeclinePayment, decline_payment, system, door=MAILS_LATER),
        Command(VoidPayment, void_payment, system, door=PLAIN),
        Command(RefundPayment, refund_payment, system, door=PLAIN),
        Command(RegisterWebhook, register_webhook, integrator, door=POSTS),
        Command(UpdateWebhook, update_webhook, integrator, door=POSTS),
        Command(RotateWebhookSecret, rotate_webhook_secret, integrator, door=PLAIN),
        Command(PauseWebhook, pause_webhook, integrator, door=PLAIN),
        Command(ResumeWebhook, resume_webhook, integrator, door=POSTS),
        Command(RemoveWebhook, remove_webhook, integrator, door=PLAIN),
        Command(ReplayWebhook, replay_webhook, integrator, door=POSTS),
        Command(TestWebhook, test_webhook, integrator, door=POSTS),
        Command(DisableWebhook, disable_webhook, system, door=PLAIN),
        Command(RecordMailSent, record_mail_sent, system, door=PLAIN),
        Command(RecordMailFailed, record_mail_failed, system, door=PLAIN),
    )
}

# A command with a text of which nobody has said how far it may spread does not start.
for _request in COMMANDS:
    tuple(classified(_request))
