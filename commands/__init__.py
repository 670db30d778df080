"""What one may ask: every command, its handler, and who may use it. COMMANDS is the table of contents."""

from __future__ import annotations

from typing import Final

from commands.catalogue import AddProduct, add_product
from commands.handling import Command, anyone, signed_in, staff, system
from commands.inventory import ReceiveStock, ReleaseOrder, ReserveOrder, receive_stock, release_order, reserve_order
from commands.orders import CancelOrder, PlaceOrder, cancel_order, place_order
from commands.users import RegisterUser, SignIn, register_user, sign_in

COMMANDS: Final = {
    command.request: command
    for command in (
        Command(RegisterUser, register_user, anyone),
        Command(SignIn, sign_in, anyone),
        Command(AddProduct, add_product, staff),
        Command(ReceiveStock, receive_stock, staff),
        Command(PlaceOrder, place_order, signed_in),
        Command(CancelOrder, cancel_order, signed_in),
        Command(ReserveOrder, reserve_order, system),
        Command(ReleaseOrder, release_order, system),
    )
}
