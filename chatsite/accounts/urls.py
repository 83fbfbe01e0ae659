"""URLs to sign in, sign up, sign out and change the password."""

from django.contrib.auth import views as auth
from django.urls import path

from chatsite.accounts import views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.SignIn.as_view(), name="sign-in"),
    path("sign-out/", auth.LogoutView.as_view(), name="sign-out"),
    path("sign-up/", views.sign_up, name="sign-up"),
    path("invitation/<str:secret>/", views.accept_invitation, name="invitation"),
    path("password/", views.ChangePassword.as_view(), name="password"),
    path(
        "password/changed/",
        auth.PasswordChangeDoneView.as_view(template_name="accounts/password_changed.html"),
        name="password-changed",
    ),
]
