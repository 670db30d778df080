"""What one may ask: every command, its handler, and who may use it. COMMANDS is the table of contents."""

from __future__ import annotations

from typing import Final

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
from commands.handling import Command, anyone, signed_in, staff, system
from commands.inventory import (
    AdjustStock,
    DispatchOrder,
    ExpireHolds,
    ReceiveStock,
    ReleaseOrder,
    ReserveOrder,
    adjust_stock,
    dispatch_order,
    expire_holds,
    receive_stock,
    release_order,
    reserve_order,
)
from commands.orders import (
    CancelOrder,
    ConfirmOrder,
    DeliverOrder,
    PlaceOrder,
    RefundOrder,
    RejectOrder,
    ShipOrder,
    cancel_order,
    confirm_order,
    deliver_order,
    place_order,
    refund_order,
    reject_order,
    ship_order,
)
from commands.payments import (
    AuthorisePayment,
    CapturePayment,
    DeclinePayment,
    RefundPayment,
    RequestPayment,
    VoidPayment,
    authorise_payment,
    capture_payment,
    decline_payment,
    refund_payment,
    request_payment,
    void_payment,
)
from commands.users import RegisterUser, SignIn, register_user, sign_in

COMMANDS: Final = {
    command.request: command
    for command in (
        Command(RegisterUser, register_user, anyone),
        Command(SignIn, sign_in, anyone),
        Command(AddCategory, add_category, staff),
        Command(UpdateCategory, update_category, staff),
        Command(RemoveCategory, remove_category, staff),
        Command(AddProduct, add_product, staff),
        Command(UpdateProduct, update_product, staff),
        Command(RepriceProduct, reprice_product, staff),
        Command(PublishProduct, publish_product, staff),
        Command(WithdrawProduct, withdraw_product, staff),
        Command(ReceiveStock, receive_stock, staff),
        Command(AdjustStock, adjust_stock, staff),
        Command(PlaceOrder, place_order, signed_in),
        Command(CancelOrder, cancel_order, signed_in),
        Command(ShipOrder, ship_order, staff),
        Command(DeliverOrder, deliver_order, staff),
        Command(RefundOrder, refund_order, staff),
        Command(ConfirmOrder, confirm_order, system),
        Command(RejectOrder, reject_order, system),
        Command(ReserveOrder, reserve_order, system),
        Command(ReleaseOrder, release_order, system),
        Command(DispatchOrder, dispatch_order, system),
        Command(ExpireHolds, expire_holds, system),
        Command(RequestPayment, request_payment, system),
        Command(AuthorisePayment, authorise_payment, system),
        Command(CapturePayment, capture_payment, system),
        Command(DeclinePayment, decline_payment, system),
        Command(VoidPayment, void_payment, system),
        Command(RefundPayment, refund_payment, system),
    )
}
