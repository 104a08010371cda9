"""The 28 e-commerce events. The schema requires none of their properties.

Source: vendor OpenAPI of 2025 (components `products_searched` to `product_reviewed`) and its list of event names; where
a schema's title differs from the list, the list is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from reverse_etl.customerio.semantic.checks import Count, Currency, Number, Size, Text, Whole, at, items, json_object
from reverse_etl.customerio.semantic.record import Event, Record, places


class ProductFields(Record):
    """What is known of a product; amounts of money in the currency of the event."""

    product_id: Text = None
    sku: Text = None
    category: Text = None
    name: Text = None
    brand: Text = None
    variant: Text = None
    price: Size = None
    quantity: Count = None
    coupon: Text = None
    position: Number = None
    url: Text = None
    image_url: Text = None


class Product(ProductFields):
    """One item of `products`."""


class Choice(Record):
    """One filter or sort order of a product list."""

    type: Text = None
    value: Text = None


def _list_of(record: type[Record], value: object) -> list[object]:
    return [at(place, lambda item: _item(record, item), item) for place, item in enumerate(items(value))]


def _item(record: type[Record], value: object) -> dict[str, object]:
    if isinstance(value, record):
        return value.properties()
    given = json_object(value)
    names = {place.name for place in places(record)}
    fields = {name: item for name, item in given.items() if name in names}
    extra = {name: item for name, item in given.items() if name not in names}
    return record(**{**fields, "extra": extra}).properties()  # type: ignore[arg-type]


def _products(value: object) -> list[object]:
    return _list_of(Product, value)


def _choices(value: object) -> list[object]:
    return _list_of(Choice, value)


Products = Annotated[Sequence[Product | Mapping[str, object]] | None, _products]
Choices = Annotated[Sequence[Choice | Mapping[str, object]] | None, _choices]


class _Checkout(Event):
    order_id: Text = None
    affiliation: Text = None
    revenue: Number = None
    shipping: Number = None
    tax: Number = None
    discount: Number = None
    coupon: Text = None
    currency: Currency = None
    products: Products = None


class _Step(Event):
    checkout_id: Text = None
    step: Whole = None
    shipping_method: Text = None
    payment_method: Text = None


class _Promotion(Event):
    promotion_id: Text = None
    creative: Text = None
    name: Text = None
    position: Text = None


class _Coupon(Event):
    order_id: Text = None
    cart_id: Text = None
    coupon_id: Text = None


class _NamedCoupon(_Coupon):
    coupon_name: Text = None
    discount: Number = None


class _Wishlist(ProductFields, Event):
    wishlist_id: Text = None
    wishlist_name: Text = None


class _Share(Event):
    share_via: Text = None
    share_message: Text = None
    recipient: Text = None


class ProductsSearched(Event):
    event = "Products Searched"
    query: Text = None


class ProductListViewed(Event):
    event = "Product List Viewed"
    list_id: Text = None
    category: Text = None
    products: Products = None


class ProductListFiltered(Event):
    event = "Product List Filtered"
    list_id: Text = None
    category: Text = None
    products: Products = None
    filters: Choices = None
    sorts: Choices = None


class PromotionViewed(_Promotion):
    event = "Promotion Viewed"


class PromotionClicked(_Promotion):
    event = "Promotion Clicked"


class ProductClicked(ProductFields, Event):
    event = "Product Clicked"
    currency: Currency = None
    value: Number = None


class ProductViewed(ProductFields, Event):
    event = "Product Viewed"
    currency: Currency = None
    value: Number = None


class ProductAdded(ProductFields, Event):
    event = "Product Added"
    cart_id: Text = None


class ProductRemoved(ProductFields, Event):
    event = "Product Removed"
    cart_id: Text = None


class CartViewed(Event):
    event = "Cart Viewed"
    cart_id: Text = None
    products: Products = None


class CheckoutStarted(_Checkout):
    event = "Checkout Started"
    value: Number = None


class CheckoutStepViewed(_Step):
    event = "Checkout Step Viewed"


class CheckoutStepCompleted(_Step):
    event = "Checkout Step Completed"


class PaymentInfoEntered(_Step):
    event = "Payment Info Entered"
    order_id: Text = None


class OrderUpdated(_Checkout):
    event = "Order Updated"


class OrderCompleted(_Checkout):
    event = "Order Completed"
    subtotal: Number = None
    total: Number = None
    checkout_id: Text = None


class OrderRefunded(_Checkout):
    event = "Order Refunded"
    subtotal: Number = None
    total: Number = None
    checkout_id: Text = None


class OrderCancelled(_Checkout):
    event = "Order Cancelled"
    total: Number = None


class CouponEntered(_Coupon):
    event = "Coupon Entered"


class CouponApplied(_NamedCoupon):
    event = "Coupon Applied"


class CouponDenied(_Coupon):
    event = "Coupon Denied"
    coupon_name: Text = None
    reason: Text = None


class CouponRemoved(_NamedCoupon):
    event = "Coupon Removed"


class ProductAddedToWishlist(_Wishlist):
    event = "Product Added to Wishlist"


class ProductRemovedFromWishlist(_Wishlist):
    event = "Product Removed from Wishlist"


class WishlistProductAddedToCart(_Wishlist):
    event = "Wishlist Product Added to Cart"
    cart_id: Text = None


class ProductShared(_Share):
    event = "Product Shared"
    product_id: Text = None
    sku: Text = None
    category: Text = None
    name: Text = None
    brand: Text = None
    variant: Text = None
    price: Size = None
    url: Text = None
    image_url: Text = None


class CartShared(_Share):
    event = "Cart Shared"
    cart_id: Text = None
    products: Products = None


class ProductReviewed(Event):
    event = "Product Reviewed"
    product_id: Text = None
    review_id: Text = None
    review_body: Text = None
    rating: Whole = None
